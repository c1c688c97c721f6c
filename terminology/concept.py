"""One concept of a code system: https://hl7.org/fhir/R4/codesystem.html"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_INACTIVE = frozenset({"retired", "inactive"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Concept:
    """One concept of a code system."""

    code: str
    display: str = ""
    definition: str = ""
    #: As CodeSystem.concept.designation has them.
    designations: tuple[Mapping[str, Any], ...] = ()
    #: As CodeSystem.concept.property has them.
    properties: tuple[Mapping[str, Any], ...] = ()
    #: Codes directly above it.
    parents: tuple[str, ...] = ()

    def values(self, name: str) -> Iterator[Any]:
        """The values of a property; those of a Coding are its code."""
        for one in self.properties:
            if one.get("code") == name:
                value = next((value for key, value in one.items() if key.startswith("value")), None)
                yield value.get("code") if isinstance(value, Mapping) else value

    def texts(self, name: str) -> Iterator[str]:
        """The same as text, and what every concept has: code, display, parent."""
        if name in ("code", "concept"):
            yield self.code
        elif name == "display":
            yield self.display
        elif name == "parent":
            yield from self.parents
        else:
            yield from (written(value) for value in self.values(name))

    @property
    def inactive(self) -> bool:
        """Whether it is no longer to be used: https://hl7.org/fhir/R4/codesystem-concept-properties.html"""
        return True in self.values("inactive") or any(value in _INACTIVE for value in self.values("status"))

    @property
    def abstract(self) -> bool:
        """Whether it only groups others."""
        return True in self.values("notSelectable")

    @property
    def names(self) -> Iterator[str]:
        """What it is found by: the code, the display and every designation."""
        yield self.code
        yield self.display
        yield from (str(one.get("value", "")) for one in self.designations)

    def shown(self, language: str = "") -> str:
        """The display, in a language where a designation has it."""
        return in_language(self.designations, language) or self.display or self.code


def in_language(designations: Iterable[Mapping[str, Any]], languages: str) -> str:
    """The designation in the first of the languages that there is one for, as Accept-Language writes them."""
    listed = list(designations)
    for language in (one.partition(";")[0].strip().lower() for one in languages.split(",") if one.strip()):
        for fits in (_same, _kin):
            for one in listed:
                if fits(str(one.get("language", "")).lower(), language):
                    return str(one.get("value", ""))
    return ""


def written(value: Any) -> str:
    """A property's value as text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _same(have: str, wanted: str) -> bool:
    return have == wanted


def _kin(have: str, wanted: str) -> bool:
    return have.partition("-")[0] == wanted.partition("-")[0]
