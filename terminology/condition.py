"""What a value set asks of the concepts of a code system, as one value that memory and a database both answer.

https://hl7.org/fhir/R4/valueset-filter-operator.html
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Every:
    """All of these; without any, every concept."""

    conditions: "tuple[AnyCondition, ...]" = ()


@dataclass(frozen=True, slots=True)
class Some:
    """One of these at least; without any, no concept."""

    conditions: "tuple[AnyCondition, ...]" = ()


@dataclass(frozen=True, slots=True)
class Not:
    """All other concepts."""

    condition: "AnyCondition"


@dataclass(frozen=True, slots=True)
class Codes:
    """These codes."""

    codes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Below:
    """What a concept subsumes."""

    code: str
    #: Whether the concept itself is meant too.
    itself: bool = True


@dataclass(frozen=True, slots=True)
class Above:
    """What subsumes a concept."""

    code: str
    itself: bool = True


@dataclass(frozen=True, slots=True)
class Having:
    """A property has one of these values; any value where none are named."""

    property: str
    values: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Matching:
    """A property's whole value matches a regular expression (RE2)."""

    property: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Leading:
    """A property leads to a concept of the same system that satisfies a condition."""

    property: str
    condition: "AnyCondition"


@dataclass(frozen=True, slots=True)
class Words:
    """Each of these is the beginning of a word of the code, the display or a designation."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Active:
    """Concepts that are not inactive."""


@dataclass(frozen=True, slots=True)
class Selectable:
    """Concepts that do more than group others."""


AnyCondition = Every | Some | Not | Codes | Below | Above | Having | Matching | Leading | Words | Active | Selectable
EVERY = Every()


def every(*conditions: AnyCondition) -> AnyCondition:
    """All of several, without what says nothing."""
    kept = tuple(one for one in conditions if one != EVERY)
    return kept[0] if len(kept) == 1 else Every(kept)


def some(*conditions: AnyCondition) -> AnyCondition:
    """One of several."""
    return conditions[0] if len(conditions) == 1 else Some(tuple(conditions))
