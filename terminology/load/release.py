"""What a release holds: code systems whose concepts come in a fixed order, and concept maps."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from terminology.code_system import Header
from terminology.concept import Concept
from terminology.errors import TerminologyError


class NotThisFormat(TerminologyError):
    """A file that is not what it was called; the text says what was looked for."""


class Concepts(Protocol):
    """The concepts of one code system, in an order that is the same each time."""

    def __len__(self) -> int:
        """How many there are."""

    def parents(self) -> Sequence[Sequence[int]]:
        """For each concept the places of those directly above it."""

    def read(self, start: int = 0) -> Iterator[Concept]:
        """The concepts from a place on."""


@dataclass(frozen=True, eq=False)
class Listed:
    """Concepts that are in memory, each code once: the first counts."""

    concepts: Sequence[Concept]

    @classmethod
    def of(cls, concepts: Iterator[Concept]) -> "Listed":
        """From concepts in which codes may be repeated."""
        found: dict[str, Concept] = {}
        for one in concepts:
            found.setdefault(one.code, one)
        return cls(list(found.values()))

    def __len__(self) -> int:
        return len(self.concepts)

    def parents(self) -> Sequence[Sequence[int]]:
        """See ``Concepts.parents``."""
        numbers = {concept.code: place for place, concept in enumerate(self.concepts)}
        return [[numbers[parent] for parent in one.parents if parent in numbers] for one in self.concepts]

    def read(self, start: int = 0) -> Iterator[Concept]:
        """See ``Concepts.read``."""
        return iter(self.concepts[start:])


@dataclass(frozen=True, eq=False)
class ReleasedSystem:
    """One code system of a release."""

    header: Header
    concepts: Concepts


@dataclass(frozen=True, eq=False)
class ReleasedMap:
    """One concept map of a release."""

    #: The ConceptMap, its groups without elements.
    resource: Mapping[str, Any]
    #: (the group's place, an element), one after another.
    read: Callable[[], Iterator[tuple[int, Mapping[str, Any]]]]


@dataclass(frozen=True, eq=False)
class Release:
    """What a file brings."""

    systems: Sequence[ReleasedSystem] = ()
    maps: Sequence[ReleasedMap] = ()
    #: Resources that are stored as they are: ValueSet, and CodeSystem and ConceptMap of a package.
    resources: Sequence[Mapping[str, Any]] = field(default=())
