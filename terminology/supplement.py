"""A code system with what supplements add to it. https://hl7.org/fhir/R4/codesystem.html#supplements

They add designations and properties to its concepts, never a concept, and what they say changes neither where a concept
stands nor whether it may be chosen.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from terminology.code_system import CodeSystem, Header
from terminology.concept import Concept
from terminology.condition import AnyCondition

#: Properties that say what a concept is; those are its own system's to say.
_OWN = frozenset({"parent", "child", "inactive", "status", "notSelectable"})


class Supplemented:
    """Asked for its codes it answers as its system does; asked for what is known of them, with the supplements'."""

    def __init__(self, system: CodeSystem, supplements: Sequence[CodeSystem]) -> None:
        self._system = system
        self.supplements = tuple(supplements)

    @property
    def header(self) -> Header:
        """See ``CodeSystem.header``."""
        return self._system.header

    def find(self, code: str) -> Concept | None:
        """See ``CodeSystem.find``."""
        found = self._system.find(code)
        return None if found is None else self._with([found])[0]

    def find_many(self, codes: Sequence[str]) -> dict[str, Concept]:
        """See ``CodeSystem.find_many``."""
        found = self._system.find_many(codes)
        return dict(zip(found, self._with(found.values()), strict=True))

    def children(self, code: str) -> list[str]:
        """See ``CodeSystem.children``."""
        return self._system.children(code)

    def subsumes(self, a: str, b: str) -> str:
        """See ``CodeSystem.subsumes``."""
        return self._system.subsumes(a, b)

    def meets(self, code: str, condition: AnyCondition) -> bool:
        """See ``CodeSystem.meets``."""
        return self._system.meets(code, condition)

    def count(self, condition: AnyCondition, most: int) -> int:
        """See ``CodeSystem.count``."""
        return self._system.count(condition, most)

    def select(self, condition: AnyCondition, *, offset: int = 0, limit: int, full: bool = False) -> Iterator[Concept]:
        """See ``CodeSystem.select``."""
        found = self._system.select(condition, offset=offset, limit=limit, full=full)
        return iter(self._with(found)) if full else found

    def _with(self, concepts: Iterable[Concept]) -> list[Concept]:
        """The concepts with what the supplements say of them."""
        whole = list(concepts)
        for supplement in self.supplements:
            said = supplement.find_many([one.code for one in whole])
            language = supplement.header.language
            whole = [_joined(one, said[one.code], language) if one.code in said else one for one in whole]
        return whole


def _joined(concept: Concept, said: Concept, language: str) -> Concept:
    # A display of its own is one in the supplement's language.
    named: list[Mapping[str, Any]] = []
    if said.display and said.display != concept.display:
        named.append({"language": language, "value": said.display} if language else {"value": said.display})
    designations = [one for one in (*named, *said.designations) if one not in concept.designations]
    return replace(
        concept,
        designations=(*concept.designations, *designations),
        properties=(*concept.properties, *(one for one in said.properties if one.get("code") not in _OWN)),
    )
