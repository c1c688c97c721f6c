"""Code systems: what one is asked (a protocol), and one that is wholly in memory. https://hl7.org/fhir/R4/codesystem.html"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, Protocol

import re2

from terminology import condition as c
from terminology.concept import Concept
from terminology.condition import AnyCondition
from terminology.errors import TerminologyError
from terminology.words import begun


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What is said of a code system as a whole."""

    url: str
    version: str = ""
    name: str = ""
    title: str = ""
    #: not-present, example, fragment, complete or supplement.
    content: str = "complete"
    #: Whether codes differ by case.
    case_sensitive: bool = True
    #: The value set of all its codes.
    value_set: str = ""
    #: The language of its displays.
    language: str = ""
    #: The code system that a supplement adds to.
    supplements: str = ""
    #: draft, active, retired or unknown.
    status: str = "active"
    experimental: bool = False
    #: As CodeSystem.property has them: code, uri, type.
    properties: tuple[Mapping[str, Any], ...] = ()


class CodeSystem(Protocol):
    """What is asked of a code system, wherever its concepts are."""

    @property
    def header(self) -> Header:
        """What is said of it as a whole."""

    def find(self, code: str) -> Concept | None:
        """The concept of a code, with all that is known of it."""

    def find_many(self, codes: Sequence[str]) -> dict[str, Concept]:
        """The concepts of several codes, by the code as it was asked for."""

    def children(self, code: str) -> list[str]:
        """The codes directly below one."""

    def subsumes(self, a: str, b: str) -> str:
        """How two codes stand to each other: https://hl7.org/fhir/R4/valueset-concept-subsumption-outcome.html"""

    def meets(self, code: str, condition: AnyCondition) -> bool:
        """Whether there is such a code and its concept satisfies the condition."""

    def count(self, condition: AnyCondition, most: int) -> int:
        """How many concepts satisfy a condition, counted up to ``most``."""

    def select(self, condition: AnyCondition, *, offset: int = 0, limit: int, full: bool = False) -> Iterator[Concept]:
        """A part of the concepts that satisfy a condition, in the system's order; ``full`` with all that is known."""


def header_of(resource: Mapping[str, Any]) -> Header:
    """What a CodeSystem resource says of the whole."""
    return Header(
        url=str(resource.get("url", "")),
        version=str(resource.get("version", "")),
        name=str(resource.get("name", "")),
        title=str(resource.get("title", "")),
        content=str(resource.get("content", "complete")),
        case_sensitive=resource.get("caseSensitive", True) is not False,
        value_set=str(resource.get("valueSet", "")),
        language=str(resource.get("language", "")),
        supplements=str(resource.get("supplements", "")),
        status=str(resource.get("status", "active")),
        experimental=resource.get("experimental") is True,
        properties=tuple(resource.get("property", ())),
    )


class MemoryCodeSystem:
    """A code system that is wholly in memory."""

    def __init__(self, header: Header, concepts: Iterable[Concept]) -> None:
        self._header = header
        self.concepts = {concept.code: concept for concept in concepts}
        self._above: dict[str, frozenset[str]] = {}

    @classmethod
    def of_resource(cls, resource: Mapping[str, Any]) -> "MemoryCodeSystem":
        """The system that a CodeSystem resource defines."""
        return cls(header_of(resource), concepts_of(resource))

    @property
    def header(self) -> Header:
        """See ``CodeSystem.header``."""
        return self._header

    @cached_property
    def _folded(self) -> dict[str, Concept]:
        return {code.casefold(): concept for code, concept in self.concepts.items()}

    @cached_property
    def _below(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for concept in self.concepts.values():
            for parent in concept.parents:
                found.setdefault(parent, []).append(concept.code)
        return found

    def find(self, code: str) -> Concept | None:
        """See ``CodeSystem.find``."""
        found = self.concepts.get(code)
        return found if found or self._header.case_sensitive else self._folded.get(code.casefold())

    def find_many(self, codes: Sequence[str]) -> dict[str, Concept]:
        """See ``CodeSystem.find_many``."""
        found = ((code, self.find(code)) for code in codes)
        return {code: concept for code, concept in found if concept is not None}

    def children(self, code: str) -> list[str]:
        """See ``CodeSystem.children``."""
        return self._below.get(code, [])

    def above(self, code: str) -> frozenset[str]:
        """Every code above this one."""
        known = self._above.get(code)
        if known is not None:
            return known
        found: set[str] = set()
        waiting = [code]
        while waiting:
            concept = self.concepts.get(waiting.pop())
            parents = concept.parents if concept else ()
            new = [parent for parent in parents if parent in self.concepts and parent not in found]
            found.update(new)
            waiting.extend(new)
        self._above[code] = frozenset(found)
        return self._above[code]

    def subsumes(self, a: str, b: str) -> str:
        """See ``CodeSystem.subsumes``."""
        if a == b:
            return "equivalent"
        if a in self.above(b):
            return "subsumes"
        return "subsumed-by" if b in self.above(a) else "not-subsumed"

    def meets(self, code: str, condition: AnyCondition) -> bool:
        """See ``CodeSystem.meets``."""
        concept = self.find(code)
        return concept is not None and self._meets(concept, condition)

    def count(self, condition: AnyCondition, most: int) -> int:
        """See ``CodeSystem.count``."""
        return sum(1 for _ in islice(self._all(condition), most))

    def select(self, condition: AnyCondition, *, offset: int = 0, limit: int, full: bool = False) -> Iterator[Concept]:
        """See ``CodeSystem.select``; here all is known of every concept, so ``full`` makes no difference."""
        del full
        return islice(self._all(condition), offset, offset + limit)

    def _all(self, condition: AnyCondition) -> Iterator[Concept]:
        return (concept for concept in self.concepts.values() if self._meets(concept, condition))

    def _meets(self, concept: Concept, condition: AnyCondition) -> bool:
        if isinstance(condition, c.Every):
            return all(self._meets(concept, one) for one in condition.conditions)
        if isinstance(condition, c.Some):
            return any(self._meets(concept, one) for one in condition.conditions)
        if isinstance(condition, c.Not):
            return not self._meets(concept, condition.condition)
        if isinstance(condition, c.Below):
            return condition.code in self.above(concept.code) or (condition.itself and condition.code == concept.code)
        if isinstance(condition, c.Above):
            return concept.code in self.above(condition.code) or (condition.itself and condition.code == concept.code)
        if isinstance(condition, c.Leading):
            return any(self.meets(value, condition.condition) for value in self._texts(concept, condition.property))
        return self._simple(concept, condition)

    def _simple(self, concept: Concept, condition: AnyCondition) -> bool:
        if isinstance(condition, c.Codes):
            return concept.code in condition.codes
        if isinstance(condition, c.Having):
            values = self._texts(concept, condition.property)
            return any(condition.values is None or value in condition.values for value in values)
        if isinstance(condition, c.Matching):
            matches = whole_match(condition.pattern)
            return any(matches(value) for value in self._texts(concept, condition.property))
        if isinstance(condition, c.Words):
            return begun(condition.words, concept.names)
        return not (concept.inactive if isinstance(condition, c.Active) else concept.abstract)

    def _texts(self, concept: Concept, name: str) -> Iterable[str]:
        return self.children(concept.code) if name == "child" else concept.texts(name)


def whole_match(pattern: str) -> Any:
    """What tells whether a whole text matches; by RE2, whose time grows with the text alone."""
    try:
        return re2.compile(pattern).fullmatch
    except re2.error as error:
        raise TerminologyError(f"The filter's regular expression can't be used: {error}.") from error


def concepts_of(resource: Mapping[str, Any]) -> Iterator[Concept]:
    """All concepts of a CodeSystem resource, those within others too, in the order they stand there."""
    children = _stated_children(resource)
    waiting = [(one, "") for one in reversed(resource.get("concept", ()))]
    while waiting:
        one, parent = waiting.pop()
        code = str(one["code"])
        properties = tuple(one.get("property", ()))
        stated = [str(p["valueCode"]) for p in properties if p.get("code") == "parent" and "valueCode" in p]
        yield Concept(
            code=code,
            display=str(one.get("display", "")),
            definition=str(one.get("definition", "")),
            designations=tuple(one.get("designation", ())),
            properties=tuple(p for p in properties if p.get("code") not in ("parent", "child")),
            parents=tuple(dict.fromkeys([*([parent] if parent else []), *stated, *children.get(code, ())])),
        )
        waiting.extend((inner, code) for inner in reversed(one.get("concept", ())))


def _stated_children(resource: Mapping[str, Any]) -> dict[str, list[str]]:
    """Code -> the codes that name it as their child."""
    found: dict[str, list[str]] = {}
    waiting = list(resource.get("concept", ()))
    while waiting:
        one = waiting.pop()
        for p in one.get("property", ()):
            if p.get("code") == "child" and "valueCode" in p:
                found.setdefault(str(p["valueCode"]), []).append(str(one["code"]))
        waiting.extend(one.get("concept", ()))
    return found
