"""A search as frozen values: what the parameters of a URL ask for. https://hl7.org/fhir/R4/search.html"""

from dataclasses import dataclass
from typing import Any, Protocol


class Operand(Protocol):
    """One value asked for, as the file of its parameter type understands it."""

    @property
    def kind(self) -> str:
        """Which index table it is looked for in."""

    @property
    def suffix(self) -> str:
        """See ``numbers.number``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Values:
    """Any of the operands (or, negated, none of them) among a parameter's values."""

    #: More than one where a search goes over several types at once.
    resource_types: tuple[str, ...]
    code: str
    operands: tuple[Operand, ...]
    negated: bool = False
    #: A value that is none of the operands, as _filter's ``ne`` means it.
    unequal: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Composite:
    """Any of the alternatives, all of whose components hold of one and the same value."""

    resource_type: str
    code: str
    alternatives: tuple[tuple[Operand, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """Whether a parameter has no value at all."""

    resource_types: tuple[str, ...]
    code: str
    #: The index tables that its values may stand in, with the suffix.
    places: tuple[tuple[str, str], ...]
    missing: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Ids:
    """_id: the logical id is one of these (or, negated, none)."""

    ids: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class LastUpdated:
    """_lastUpdated: any of the operands, which are those of a date parameter."""

    operands: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """A reference to a resource for which a criterion of its own type holds."""

    resource_type: str
    code: str
    #: By target type.
    targets: tuple[tuple[str, "Criterion"], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Has:
    """A resource of another type refers to this one and meets a criterion."""

    #: Empty where this one may be of any type.
    resource_type: str
    #: The type that refers, and the reference parameter by which it does.
    source_type: str
    code: str
    criterion: "Criterion"


@dataclass(frozen=True, kw_only=True, slots=True)
class AnyOf:
    """At least one of several criteria."""

    criteria: tuple["Criterion", ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class AllOf:
    """All of several criteria."""

    criteria: tuple["Criterion", ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Not:
    """A criterion that does not hold."""

    criterion: "Criterion"


@dataclass(frozen=True, kw_only=True, slots=True)
class OfType:
    """The resource is of one of these types."""

    resource_types: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Hierarchy:
    """A reference to something above or below one of these in their own hierarchy, or to one of these.

    https://hl7.org/fhir/R4/search.html#recursive
    """

    resource_type: str
    code: str
    #: Type/id of what is asked for.
    targets: tuple[str, ...]
    #: The type of the hierarchy, and the parameter by which each points to its parent.
    target_type: str
    parent: str
    above: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Within:
    """In the compartment of one resource: it refers to it by one of several parameters, or is it.

    https://hl7.org/fhir/R4/compartmentdefinition.html
    """

    #: Type and code of each.
    parameters: tuple[tuple[str, str], ...]
    #: (type, id) of what the compartment is of; without id any of the type.
    of: tuple[str, str]
    #: Whether that itself is in it.
    itself: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Contains:
    """A resource contained in this one, of a type, meets all of several criteria.

    https://hl7.org/fhir/R4/search.html#contained
    """

    resource_type: str
    criteria: tuple["Criterion", ...]


Criterion = (
    Values
    | Composite
    | Missing
    | Ids
    | LastUpdated
    | Chain
    | Has
    | AnyOf
    | AllOf
    | Not
    | OfType
    | Hierarchy
    | Within
    | Contains
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sort:
    """One key of _sort."""

    code: str
    #: Index table, or "" for what stands in the resource's own row.
    kind: str
    descending: bool
    #: Whose parameter it is.
    resource_types: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Include:
    """One _include or _revinclude: https://hl7.org/fhir/R4/search.html#include"""

    #: The type whose parameter it is.
    source_type: str
    #: Reference parameter, or "*" for all of them.
    code: str
    #: Only targets of this type; empty for all.
    target_type: str = ""
    reverse: bool = False
    iterate: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """One search for resources of one type or several."""

    #: Empty means every type.
    resource_types: tuple[str, ...]
    criteria: tuple[Criterion, ...] = ()
    sort: tuple[Sort, ...] = ()
    count: int = 0
    #: none, estimate or accurate.
    total: str = "none"
    includes: tuple[Include, ...] = ()
    #: true, text, data, count or false.
    summary: str = "false"
    elements: tuple[str, ...] = ()
    #: Of these matches (containers) the contained resources are given that meet the criteria, see ``Contains``.
    contained: Contains | None = None
    #: Where the page before this one ended; empty for the first.
    cursor: str = ""
    #: The parameters that were understood, as they came: what links repeat.
    used: tuple[tuple[str, str], ...] = ()
    #: What was ignored under handling=lenient, and why.
    ignored: tuple[str, ...] = ()
