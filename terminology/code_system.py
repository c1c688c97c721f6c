"""Code systems: concepts, their hierarchy and properties. https://hl7.org/fhir/R4/codesystem.html"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import re2

from terminology.errors import TerminologyError

_INACTIVE = frozenset({"retired", "inactive"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Concept:
    """One concept of a code system."""

    code: str
    display: str = ""
    definition: str = ""
    designations: tuple[Mapping[str, Any], ...] = ()
    properties: tuple[Mapping[str, Any], ...] = ()
    #: Codes directly above it.
    parents: tuple[str, ...] = ()

    def values(self, name: str) -> Iterator[Any]:
        """The values of a property; those of a Coding are its code."""
        for one in self.properties:
            if one.get("code") == name:
                value = next((value for key, value in one.items() if key.startswith("value")), None)
                yield value.get("code") if isinstance(value, Mapping) else value

    @property
    def inactive(self) -> bool:
        """Whether it is no longer to be used: https://hl7.org/fhir/R4/codesystem-concept-properties.html"""
        return True in self.values("inactive") or any(value in _INACTIVE for value in self.values("status"))

    @property
    def abstract(self) -> bool:
        """Whether it only groups others."""
        return True in self.values("notSelectable")

    def shown(self, language: str = "") -> str:
        """The display, in a language where a designation has it."""
        if language:
            for one in self.designations:
                if str(one.get("language", "")).lower().split("-")[0] == language.lower().split("-")[0]:
                    return str(one.get("value", self.display))
        return self.display or self.code


class CodeSystem:
    """One code system at hand."""

    def __init__(self, url: str, concepts: Iterable[Concept], *, version: str = "", name: str = "") -> None:
        self.url = url
        self.version = version
        self.name = name or url.rpartition("/")[2]
        #: Whether codes differ by case.
        self.case_sensitive = True
        self.concepts = {concept.code: concept for concept in concepts}

    @classmethod
    def of_resource(cls, resource: Mapping[str, Any]) -> "CodeSystem":
        """The system that a CodeSystem resource defines."""
        names = (resource.get("name"), resource.get("title"))
        found = cls(
            str(resource.get("url", "")),
            _concepts(resource.get("concept", ())),
            version=str(resource.get("version", "")),
            name=str(next(filter(None, names), "")),
        )
        found.case_sensitive = resource.get("caseSensitive", True) is not False
        return found

    @cached_property
    def _folded(self) -> dict[str, Concept]:
        return {code.casefold(): concept for code, concept in self.concepts.items()}

    def find(self, code: str) -> Concept | None:
        """The concept of a code."""
        return self.concepts.get(code) or (None if self.case_sensitive else self._folded.get(code.casefold()))

    def above(self, code: str) -> frozenset[str]:
        """Every code above this one."""
        found: set[str] = set()
        waiting = [code]
        while waiting:
            concept = self.concepts.get(waiting.pop())
            new = [parent for parent in (concept.parents if concept else ()) if parent not in found]
            found.update(new)
            waiting.extend(new)
        return frozenset(found)

    def subsumes(self, a: str, b: str) -> str:
        """How two codes stand to each other: https://hl7.org/fhir/R4/valueset-concept-subsumption-outcome.html"""
        if a == b:
            return "equivalent"
        if a in self.above(b):
            return "subsumes"
        return "subsumed-by" if b in self.above(a) else "not-subsumed"

    def passes(self, concept: Concept, name: str, op: str, value: str) -> bool:
        """Whether a concept satisfies a filter of a value set: https://hl7.org/fhir/R4/valueset-filter-operator.html"""
        if op in ("is-a", "descendent-of", "is-not-a", "generalizes"):
            return self._by_hierarchy(concept.code, op, value)
        values = [_text(one) for one in self._named(concept, name)]
        if op == "exists":
            return bool(values) == (value == "true")
        if op == "=":
            return value in values
        if op in ("in", "not-in"):
            listed = {one.strip() for one in value.split(",")}
            return bool(listed.intersection(values)) == (op == "in")
        if op == "regex":
            try:
                return any(re2.fullmatch(value, one) for one in values)
            except re2.error as error:
                raise TerminologyError(f"The filter's regular expression can't be used: {error}.") from error
        raise TerminologyError(f"The filter operator '{op}' is not known.")

    def _by_hierarchy(self, code: str, op: str, value: str) -> bool:
        if op == "generalizes":
            return code == value or code in self.above(value)
        below = value in self.above(code)
        if op == "descendent-of":
            return below
        return (below or code == value) == (op == "is-a")

    def _named(self, concept: Concept, name: str) -> Iterable[Any]:
        own = {"code": [concept.code], "concept": [concept.code], "display": [concept.display]}
        if name == "parent":
            return concept.parents
        return own[name] if name in own else concept.values(name)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _concepts(listed: Iterable[Mapping[str, Any]]) -> Iterator[Concept]:
    """All concepts, those within others too, in the order they stand there."""
    waiting = [(one, "") for one in reversed(list(listed))]
    while waiting:
        one, parent = waiting.pop()
        properties = tuple(one.get("property", ()))
        stated = [str(p.get("valueCode")) for p in properties if p.get("code") == "parent" and "valueCode" in p]
        yield Concept(
            code=str(one["code"]),
            display=str(one.get("display", "")),
            definition=str(one.get("definition", "")),
            designations=tuple(one.get("designation", ())),
            properties=properties,
            parents=tuple(dict.fromkeys([*([parent] if parent else []), *stated])),
        )
        waiting.extend((inner, str(one["code"])) for inner in reversed(one.get("concept", ())))
