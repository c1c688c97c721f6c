"""Parts of a FHIRPath Patch's operations, and the values they carry: https://hl7.org/fhir/R4/fhirpatch.html"""

from dataclasses import dataclass
from typing import Any, Self

from server.errors import BadRequest
from server.fhir.definitions import Definitions

#: Beyond this an index names nothing.
_LARGEST_INDEX = 2**31 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchValue:
    """What an operation adds, inserts or puts in another's place."""

    #: The end of ``value[x]``, e.g. HumanName; resource types for resources; empty for an element defined in place.
    suffix: str = ""
    json: Any = None
    #: id and extensions of a primitive.
    beside: dict[str, Any] | None = None
    #: Of an element that is defined in place: its children by name.
    parts: tuple[tuple[str, "PatchValue"], ...] | None = None

    @classmethod
    def of(cls, part: dict[str, Any]) -> Self:
        """The value of one part; BadRequest where there is none, or several."""
        if isinstance(part.get("part"), list):
            return cls(parts=tuple((inner["name"], cls.of(inner)) for inner in _parts(part)))
        resource = part.get("resource")
        if isinstance(resource, dict):
            return cls(suffix=str(resource.get("resourceType")), json=resource)
        names = {name.removeprefix("_") for name in part if name.removeprefix("_").startswith("value")}
        if len(names) != 1:
            raise BadRequest("A part has one value[x], a resource, or parts.")
        name = names.pop()
        beside = part.get(f"_{name}")
        return cls(
            suffix=name.removeprefix("value"), json=part.get(name), beside=beside if isinstance(beside, dict) else None
        )

    def is_of(self, kind: str, definitions: Definitions) -> bool:
        """Whether it is of that type, or of one that only parts can carry."""
        if self.parts is not None:
            return definitions.types[kind].kind == "complex-type"
        if kind in ("Resource", "DomainResource"):
            return definitions.is_resource(self.suffix) and kind in definitions.ancestry(self.suffix)
        return self.suffix == kind[:1].upper() + kind[1:]

    def could_be(self, kind: str, definitions: Definitions) -> bool:
        """Whether the type is a specialisation or generalisation, written alike: a code where a string is asked for."""
        if kind == "xhtml":
            # Parameters has no valueXhtml.
            return self.suffix == "String"
        if kind in ("Element", "BackboneElement"):
            return False
        own = self.suffix[:1].lower() + self.suffix[1:]
        if own not in definitions.types or definitions.types[own].kind != "primitive-type":
            own = self.suffix
        related = kind in definitions.ancestry(own) or own in definitions.ancestry(kind)
        return related and own in definitions.types and not definitions.types[own].abstract


def named_parts(parameter: dict[str, Any]) -> dict[str, Any]:
    """The parts of an operation by name; BadRequest for a part that is no object, has no name or comes twice."""
    parts = {part["name"]: part for part in _parts(parameter)}
    if len(parts) != len(_parts(parameter)):
        raise BadRequest("A part of the operation comes twice.")
    return parts


def _parts(parameter: dict[str, Any]) -> list[dict[str, Any]]:
    parts = parameter.get("part")
    if not isinstance(parts, list):
        raise BadRequest("An operation has parts: type, path and what the type asks for.")
    if not all(isinstance(part, dict) and isinstance(part.get("name"), str) for part in parts):
        raise BadRequest("Every part is an object with a name.")
    return parts


def whole_number(parts: dict[str, Any], name: str) -> int:
    """A place in a list, from 0."""
    value = PatchValue.of(parts[name]).json if name in parts else None
    if type(value) is not int or not 0 <= value <= _LARGEST_INDEX:
        raise BadRequest(f"The operation needs a part {name} with an integer from 0.")
    return value
