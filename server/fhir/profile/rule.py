"""What a profile says of one element: https://hl7.org/fhir/R4/elementdefinition.html"""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Final

STRUCTURE: Final = "http://hl7.org/fhir/StructureDefinition/"
_FHIR_TYPE: Final = f"{STRUCTURE}structuredefinition-fhir-type"
_MAX_VALUE_SET: Final = f"{STRUCTURE}elementdefinition-maxValueSet"
_SYSTEM: Final = "http://hl7.org/fhirpath/"


@dataclass(frozen=True, kw_only=True, slots=True)
class TypeRule:
    """One type that is allowed."""

    code: str
    #: Profiles of which a value has to meet one.
    profiles: tuple[str, ...] = ()
    #: Profiles or types of which what a reference leads to has to meet one.
    targets: tuple[str, ...] = ()
    #: How it may be referred to: contained, referenced, bundled.
    aggregation: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Binding:
    """Which codes are allowed."""

    strength: str
    value_set: str
    #: The set that may not be left, whatever the strength.
    most: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfileConstraint:
    """One invariant that a profile states."""

    key: str
    severity: str
    expression: str
    human: str
    #: Canonical of the definition that states it first; empty where the profile does not say.
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Slicing:
    """How slices are told apart: https://hl7.org/fhir/R4/profiling.html#discriminator"""

    #: (type, path) of each discriminator.
    discriminators: tuple[tuple[str, str], ...]
    #: open, closed or openAtEnd.
    rules: str = "open"
    ordered: bool = False


BY_URL = Slicing(discriminators=(("value", "url"),))
BY_TYPE = Slicing(discriminators=(("type", "$this"),))


@dataclass(kw_only=True, slots=True, eq=False)
class Rule:
    """One element of a profile; what is None was not said."""

    #: As in messages: the element's id without the type.
    label: str
    #: Name of the element, without the mark of a choice.
    name: str = ""
    min: int | None = None
    max: str | None = None
    types: tuple[TypeRule, ...] | None = None
    #: One value, or none.
    fixed: tuple[Any, ...] = ()
    pattern: tuple[Any, ...] = ()
    binding: Binding | None = None
    max_length: int | None = None
    #: Lowest and highest value, each with its type.
    min_value: tuple[str, Any] | None = None
    max_value: tuple[str, Any] | None = None
    constraints: dict[str, ProfileConstraint] = field(default_factory=dict)
    #: Where the children are defined, as ``#id``.
    content: str = ""
    slicing: Slicing | None = None
    slices: dict[str, "Rule"] = field(default_factory=dict)
    children: dict[str, "Rule"] = field(default_factory=dict)

    def clone(self) -> "Rule":
        """A copy whose parts can be changed without changing this one's."""
        twin = copy(self)
        twin.constraints = dict(self.constraints)
        twin.slices = {name: rule.clone() for name, rule in self.slices.items()}
        twin.children = {name: rule.clone() for name, rule in self.children.items()}
        return twin

    @property
    def codes(self) -> frozenset[str]:
        """Names of the allowed types."""
        return frozenset(each.code for each in self.types or ())

    @property
    def profiles(self) -> tuple[str, ...]:
        """Profiles on the allowed types."""
        return tuple(url for each in self.types or () for url in each.profiles)

    @property
    def targets(self) -> tuple[str, ...]:
        """Profiles or types that a reference may lead to."""
        return tuple(url for each in self.types or () for url in each.targets)

    def take(self, element: Mapping[str, Any]) -> None:
        """Takes over what an ElementDefinition says; what it leaves out stays as it was."""
        self.min = element.get("min", self.min)
        self.max = element.get("max", self.max)
        self.max_length = element.get("maxLength", self.max_length)
        self.content = element.get("contentReference", self.content)
        if element.get("type"):
            self.types = tuple(_type(each) for each in element["type"])
        if element.get("slicing"):
            self.slicing = _slicing(element["slicing"])
        if (element.get("binding") or {}).get("valueSet"):
            self.binding = _binding(element["binding"])
        for key, value in element.items():
            if key.startswith("fixed"):
                self.fixed = (value,)
            elif key.startswith("pattern"):
                self.pattern = (value,)
            elif key.startswith("minValue"):
                self.min_value = (_kind(key, "minValue"), value)
            elif key.startswith("maxValue"):
                self.max_value = (_kind(key, "maxValue"), value)
        for constraint in element.get("constraint", ()):
            if constraint.get("expression"):
                self.constraints[constraint["key"]] = _constraint(constraint)


def _kind(key: str, prefix: str) -> str:
    ending = key.removeprefix(prefix)
    return ending if ending == "Quantity" else ending[:1].lower() + ending[1:]


def _type(kind: Mapping[str, Any]) -> TypeRule:
    code = str(kind.get("code", ""))
    for extension in kind.get("extension", ()) if code.startswith(_SYSTEM) else ():
        if extension.get("url") == _FHIR_TYPE:
            code = str(extension.get("valueUrl") or extension.get("valueUri"))
    return TypeRule(
        code="" if code.startswith(_SYSTEM) else code.removeprefix(STRUCTURE),
        profiles=_canonicals(kind.get("profile")),
        targets=_canonicals(kind.get("targetProfile")),
        aggregation=tuple(kind.get("aggregation", ())),
    )


def _canonicals(given: Any) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given or ())


def _slicing(given: Mapping[str, Any]) -> Slicing:
    return Slicing(
        discriminators=tuple((str(each["type"]), str(each["path"])) for each in given.get("discriminator", ())),
        rules=str(given.get("rules", "open")),
        ordered=bool(given.get("ordered")),
    )


def _binding(given: Mapping[str, Any]) -> Binding:
    most: Mapping[str, Any] = next(
        (each for each in given.get("extension", ()) if each.get("url") == _MAX_VALUE_SET), {}
    )
    return Binding(
        strength=str(given.get("strength", "example")),
        value_set=str(given["valueSet"]),
        most=str(most.get("valueCanonical") or most.get("valueUri") or ""),
    )


def _constraint(given: Mapping[str, Any]) -> ProfileConstraint:
    return ProfileConstraint(
        key=str(given["key"]),
        severity=str(given.get("severity", "error")),
        expression=str(given["expression"]),
        human=str(given.get("human", "")),
        source=str(given.get("source", "")),
    )
