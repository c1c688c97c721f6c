"""Value sets: which codes they hold. https://hl7.org/fhir/R4/valueset.html"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from terminology.code_system import CodeSystem, Concept
from terminology.errors import TerminologyError, TooManyCodes, UnknownContent

Resource = Mapping[str, Any]
#: Codes of one expansion.
MOST = 50_000
#: Value sets that take one another in.
_DEEPEST = 20


class Content(Protocol):
    """What is at hand."""

    def code_system(self, url: str, version: str = "") -> CodeSystem | None:
        """A code system by its canonical."""

    def value_set(self, url: str, version: str = "") -> Resource | None:
        """A value set by its canonical."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One code of a value set."""

    system: str
    version: str
    concept: Concept


def members(value_set: Resource, content: Content, *, depth: int = 0) -> Iterator[Member]:
    """Every code of a value set, once each, in its order; TooManyCodes past ``MOST``."""
    if depth > _DEEPEST:
        raise TerminologyError("The value set takes in others more than 20 deep, or itself.")
    compose = value_set.get("compose")
    if not compose:
        yield from _expanded((value_set.get("expansion") or {}).get("contains", ()))
        return
    excluded = [_Part(one, content, depth) for one in compose.get("exclude", ())]
    seen: set[tuple[str, str]] = set()
    for include in compose.get("include", ()):
        for one in _Part(include, content, depth).members():
            key = (one.system, one.concept.code)
            dropped = compose.get("inactive") is False and one.concept.inactive
            if key in seen or dropped or any(part.holds(*key) for part in excluded):
                continue
            if len(seen) >= MOST:
                raise TooManyCodes(f"The value set has more than {MOST} codes.")
            seen.add(key)
            yield one


def holds(value_set: Resource, content: Content, system: str, code: str, *, depth: int = 0) -> Member | None:
    """The member of a value set that a code is, without expanding what need not be; ``system`` may be empty."""
    if depth > _DEEPEST:
        raise TerminologyError("The value set takes in others more than 20 deep, or itself.")
    compose = value_set.get("compose")
    if not compose:
        listed = _expanded((value_set.get("expansion") or {}).get("contains", ()))
        return next((one for one in listed if one.concept.code == code and system in ("", one.system)), None)
    for include in compose.get("include", ()):
        found = _Part(include, content, depth).holds(system, code)
        if found is None or (compose.get("inactive") is False and found.concept.inactive):
            continue
        excluded = (_Part(one, content, depth).holds(found.system, code) for one in compose.get("exclude", ()))
        if not any(excluded):
            return found
    return None


def _expanded(contains: Sequence[Resource]) -> Iterator[Member]:
    """The codes of an expansion that a value set carries."""
    waiting = list(reversed(contains))
    while waiting:
        one = waiting.pop()
        if "code" in one and not one.get("abstract"):
            concept = _listed(one, None)
            yield Member(system=str(one.get("system", "")), version=str(one.get("version", "")), concept=concept)
        waiting.extend(reversed(one.get("contains", ())))


def _listed(one: Resource, known: Concept | None) -> Concept:
    """A concept that a value set lists, with what its system knows of it."""
    base = known or Concept(code=str(one["code"]))
    if one.get("inactive") is True:
        base = replace(base, properties=(*base.properties, {"code": "inactive", "valueBoolean": True}))
    designations = (*one.get("designation", ()), *base.designations)
    return replace(base, display=str(one.get("display") or base.display), designations=designations)


class _Part:
    """One include or exclude: codes of a system, of value sets, or of both at once."""

    def __init__(self, part: Resource, content: Content, depth: int) -> None:
        self._part = part
        self._content = content
        self._depth = depth + 1
        self._system = str(part.get("system", ""))

    def members(self) -> Iterator[Member]:
        """Every code of it."""
        sets = self._value_sets()
        if self._system:
            found, others = self._of_system(), sets
        elif sets:
            found, others = members(sets[0], self._content, depth=self._depth), sets[1:]
        else:
            raise TerminologyError("A part of a value set names a system or value sets.")
        for one in found:
            if all(self._in(other, one.system, one.concept.code) for other in others):
                yield one

    def holds(self, system: str, code: str) -> Member | None:
        """The member that a code is."""
        sets = self._value_sets()
        if not self._system:
            found = [holds(one, self._content, system, code, depth=self._depth) for one in sets]
            return found[0] if found and all(found) else None
        if system not in ("", self._system):
            return None
        member = self._one_of_system(code)
        if member is None or not all(self._in(one, self._system, code) for one in sets):
            return None
        return member

    def _in(self, value_set: Resource, system: str, code: str) -> bool:
        return holds(value_set, self._content, system, code, depth=self._depth) is not None

    def _value_sets(self) -> list[Resource]:
        found = []
        for canonical in self._part.get("valueSet", ()):
            url, _, version = str(canonical).partition("|")
            one = self._content.value_set(url, version)
            if one is None:
                raise UnknownContent(f"The value set {canonical} is not at hand.")
            found.append(one)
        return found

    def _code_system(self) -> CodeSystem | None:
        return self._content.code_system(self._system, str(self._part.get("version", "")))

    def _member(self, concept: Concept, known: CodeSystem | None) -> Member:
        version = str(self._part.get("version", "")) or (known.version if known else "")
        return Member(system=self._system, version=version, concept=concept)

    def _of_system(self) -> Iterator[Member]:
        known = self._code_system()
        if "concept" in self._part:
            for one in self._part["concept"]:
                yield self._member(_listed(one, known.find(str(one["code"])) if known else None), known)
            return
        system = self._required(known)
        for concept in system.concepts.values():
            if self._passes(system, concept):
                yield self._member(concept, system)

    def _one_of_system(self, code: str) -> Member | None:
        known = self._code_system()
        if "concept" in self._part:
            listed = next((one for one in self._part["concept"] if one.get("code") == code), None)
            return None if listed is None else self._member(_listed(listed, known.find(code) if known else None), known)
        system = self._required(known)
        concept = system.find(code)
        return self._member(concept, system) if concept is not None and self._passes(system, concept) else None

    def _required(self, known: CodeSystem | None) -> CodeSystem:
        if known is None:
            raise UnknownContent(f"The code system {self._system} is not at hand.")
        return known

    def _passes(self, system: CodeSystem, concept: Concept) -> bool:
        return all(
            system.passes(concept, str(one.get("property", "")), str(one.get("op", "")), str(one.get("value", "")))
            for one in self._part.get("filter", ())
        )
