"""FHIR and System type names: what is a what (https://hl7.org/fhirpath/N1/#types, https://hl7.org/fhir/R4/datatypes.html)."""

from decimal import Decimal
from typing import Any, Final

from server.errors import BadRequest
from server.fhir.fhirpath.model import Definitions
from server.fhir.fhirpath.node import Item, Node
from server.fhir.fhirpath.quantity import Quantity
from server.fhir.fhirpath.temporal import Date, DateTime, Time

#: Primitive types and what they specialise (R4, datatypes.html).
PRIMITIVES: Final = {
    "base64Binary": "Element", "boolean": "Element", "canonical": "uri", "code": "string", "date": "Element",
    "dateTime": "Element", "decimal": "Element", "id": "string", "instant": "Element", "integer": "Element",
    "markdown": "string", "oid": "uri", "positiveInt": "integer", "string": "Element", "time": "Element",
    "unsignedInt": "integer", "uri": "Element", "url": "uri", "uuid": "uri", "xhtml": "Element",
    "integer64": "Element",
}  # fmt: skip
_QUANTITIES = ("Age", "Count", "Distance", "Duration", "MoneyQuantity", "SimpleQuantity")
#: General-purpose, metadata and special types: all specialise Element or, where they stand in one, BackboneElement.
COMPLEX: Final = {
    **dict.fromkeys(_QUANTITIES, "Quantity"),
    **dict.fromkeys(("Timing", "Dosage", "ElementDefinition", "Population", "ProdCharacteristic", "MarketingStatus",
                     "SubstanceAmount", "ProductShelfLife"), "BackboneElement"),
    **dict.fromkeys(("Address", "Annotation", "Attachment", "BackboneElement", "CodeableConcept", "CodeableReference",
                     "Coding", "ContactDetail", "ContactPoint", "Contributor", "DataRequirement", "Expression",
                     "Extension", "HumanName", "Identifier", "Meta", "Money", "Narrative", "ParameterDefinition",
                     "Period", "Quantity", "Range", "Ratio", "RatioRange", "Reference", "RelatedArtifact",
                     "SampledData", "Signature", "TriggerDefinition", "UsageContext"), "Element"),
}  # fmt: skip
_BARE_RESOURCES = ("Bundle", "Binary", "Parameters", "DomainResource")
_SYSTEM: Final[dict[str, tuple[type, ...]]] = {
    "Boolean": (bool,), "Integer": (int,), "Decimal": (Decimal,), "String": (str,), "Date": (Date,),
    "DateTime": (DateTime,), "Time": (Time,), "Quantity": (Quantity,),
    "Any": (bool, int, Decimal, str, Date, DateTime, Time, Quantity),
}  # fmt: skip


def _supertype(name: str) -> str:
    if name in PRIMITIVES or name in COMPLEX:
        return PRIMITIVES.get(name) or COMPLEX[name]
    if name in _BARE_RESOURCES:
        return "Resource"
    return "DomainResource" if name[:1].isupper() and name not in ("Resource", "Element") else ""


def specialises(name: str, ancestor: str, model: Definitions | None) -> bool:
    """Whether a FHIR type is another or a specialisation of it; by R4's datatypes and naming without a model."""
    if name == ancestor:
        return True
    if model is not None and name in model.types:
        return ancestor in model.ancestry(name)
    while name and name != ancestor:
        name = _supertype(name)
    return name == ancestor


def system_type(item: Item) -> str:
    """The System type name of a value that is no node."""
    for name, kinds in _SYSTEM.items():
        if type(item) in kinds:
            return name
    return "Any"


class TypeSpecifier:
    """A type name in an expression, resolved: FHIR's first, then System's (https://hl7.org/fhir/R4/fhirpath.html)."""

    __slots__ = ("fhir", "model", "system")

    def __init__(self, text: str, model: Definitions | None) -> None:
        namespace, _, name = text.rpartition(".")
        if namespace not in ("", "FHIR", "System"):
            raise BadRequest(f"FHIRPath: no type namespace {namespace!r}; there are FHIR and System", expression=text)
        self.model = model
        self.fhir = "" if namespace == "System" else name
        self.system: tuple[type, ...] = () if namespace == "FHIR" else _SYSTEM.get(name, ())
        if namespace != "System" and not self.system and not _is_fhir_type(name, model):
            raise BadRequest(f"FHIRPath: no type {name!r} in FHIR or System; check its spelling", expression=text)

    def includes(self, item: Item) -> bool:
        """``is``: the type itself or a specialisation."""
        if type(item) is Node:
            return bool(self.fhir) and (
                specialises(item.type, self.fhir, self.model) if item.type else _fits(item.value, self.fhir)
            )
        return type(item) in self.system

    def selects(self, item: Item) -> bool:
        """``as`` and ``ofType``: as ``is``, but primitives of exactly that type (HL7's suite, testInheritance)."""
        if type(item) is Node and item.type in PRIMITIVES:
            return item.type == self.fhir
        return self.includes(item)


def _is_fhir_type(name: str, model: Definitions | None) -> bool:
    if name in PRIMITIVES or name in COMPLEX or name in ("Element", "Resource", "DomainResource"):
        return True
    return name[:1].isupper() if model is None else name in model.types


#: Without type information a JSON value fits the types that write it so.
_JSON_TYPES: dict[type, tuple[str, ...]] = {
    bool: ("boolean",),
    int: ("integer", "decimal", "positiveInt", "unsignedInt"),
    Decimal: ("decimal",),
    float: ("decimal",),
}


def _fits(value: Any, name: str) -> bool:
    if isinstance(value, str):
        return name in PRIMITIVES and not any(name in names for names in _JSON_TYPES.values())
    if isinstance(value, dict):
        return name not in PRIMITIVES and _shaped(value, name)
    return name in _JSON_TYPES.get(type(value), ())


#: Keys that tell a datatype apart where no model does; a value fits unless it has a key that the type lacks.
_SHAPES: dict[str, frozenset[str]] = {
    "Reference": frozenset(("id", "extension", "reference", "type", "identifier", "display")),
    "CodeableConcept": frozenset(("id", "extension", "coding", "text")),
    "Coding": frozenset(("id", "extension", "system", "version", "code", "display", "userSelected")),
    "Quantity": frozenset(("id", "extension", "value", "comparator", "unit", "system", "code")),
    "Period": frozenset(("id", "extension", "start", "end")),
    "Range": frozenset(("id", "extension", "low", "high")),
}


def _shaped(value: dict[str, Any], name: str) -> bool:
    shape = _SHAPES.get(name)
    return shape is None or shape.issuperset(value)
