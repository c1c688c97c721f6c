"""What FHIRPath asks of a FHIR version's definitions; ``server.fhir.definitions.Definitions`` answers.

Paths are those of ElementDefinition (https://hl7.org/fhir/R4/elementdefinition.html): ``Patient``, ``HumanName``, and
``Patient.contact`` for an element that is defined in place.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol


class Element(Protocol):
    """One element of a type."""

    @property
    def name(self) -> str:
        """As FHIRPath says it: ``value`` for value[x]."""


class Property(Protocol):
    """One JSON property of a path: an element in the spelling that one of its types gives it."""

    @property
    def element(self) -> Element:
        """The element that it spells."""

    @property
    def type(self) -> str:
        """FHIR type of its values."""

    @property
    def children(self) -> str:
        """Path under which the children of its values are defined."""


class Definitions(Protocol):
    """The element types of one FHIR version."""

    @property
    def types(self) -> Mapping[str, Any]:
        """Every type by name."""

    def properties(self, path: str) -> Mapping[str, Property]:
        """The JSON properties that values of that path may have, inherited ones included; none if it is unknown."""

    def ancestry(self, name: str) -> Iterable[str]:
        """The type and those it specialises, nearest first."""

    def codes(self, value_set: str) -> Mapping[str, frozenset[str]] | None:
        """System -> codes of a value set of the standard; None where they are not known."""
