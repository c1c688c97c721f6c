"""What makes one resource of another, as a FHIRPath Patch: https://hl7.org/fhir/R4/fhirpatch.html

``fhirpath_patch.patched`` of the one with it gives the other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from server.fhir.definitions import Definitions, Property
from server.fhir.json_format import write_sorted

Resource = dict[str, Any]
#: Names of elements that are words of FHIRPath.
_WORDS = frozenset({"div", "mod", "and", "or", "xor", "implies", "true", "false", "contains", "in", "as", "is"})
#: Never changed: they say which resource it is.
_FIXED = frozenset({"resourceType", "id"})


def difference(definitions: Definitions, before: Resource, after: Resource) -> Resource:
    """Parameters with the operations, in the order in which they are to be carried out."""
    kind = before["resourceType"]
    operations = _Diff(definitions).object(kind, kind, _without(before), _without(after))
    parameters = [{"name": "operation", "part": parts} for parts in operations]
    return {"resourceType": "Parameters", **({"parameter": parameters} if parameters else {})}


def _without(resource: Resource) -> Resource:
    return {name: value for name, value in resource.items() if name not in _FIXED}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Value:
    """One value of an element: what it is, and what stands beside it if it is a primitive."""

    json: Any
    beside: Any
    found: Property

    def same(self, other: "_Value") -> bool:
        """Whether both are equal, decimals digit for digit."""
        return self.found == other.found and all(
            write_sorted(a) == write_sorted(b) for a, b in ((self.json, other.json), (self.beside, other.beside))
        )


class _Diff:
    """Differences under one set of definitions."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._open = frozenset(
            name for name in definitions.properties("Parameters.parameter") if name.startswith("value")
        )

    def object(self, path: str, defined: str, before: Resource, after: Resource) -> Iterator[list[dict[str, Any]]]:
        """What is added first, then what is changed, then what goes: nothing is empty meanwhile."""
        old, new = self._elements(defined, before), self._elements(defined, after)
        for name in (name for name in new if name not in old):
            for value in new[name]:
                yield [_code("add"), _text("path", path), _text("name", name), self._part("value", value)]
        for name in (name for name in new if name in old):
            yield from self._element(f"{path}.{_word(name)}", old[name], new[name])
        for name in (name for name in old if name not in new):
            yield from self._deletions(f"{path}.{_word(name)}", old[name], 0)

    def _element(self, path: str, old: list[_Value], new: list[_Value]) -> Iterator[list[dict[str, Any]]]:
        """Of a list what it begins and ends with alike stays; of the rest each is changed into its like."""
        if not old[0].found.element.many:
            if not old[0].same(new[0]):
                yield from self._changed(path, old[0], new[0])
            return
        start = 0
        while start < min(len(old), len(new)) and old[start].same(new[start]):
            start += 1
        rest = 0
        while rest < min(len(old), len(new)) - start and old[-1 - rest].same(new[-1 - rest]):
            rest += 1
        first, second = old[start : len(old) - rest], new[start : len(new) - rest]
        for index, (one, other) in enumerate(zip(first, second, strict=False), start):
            if not one.same(other):
                yield from self._changed(f"{path}[{index}]", one, other)
        common = min(len(first), len(second))
        for index, value in enumerate(second[common:], start + common):
            yield [_code("insert"), _text("path", path), self._part("value", value), _number("index", index)]
        yield from self._deletions(path, first[common:], start + common)

    def _deletions(self, path: str, gone: list[_Value], start: int) -> Iterator[list[dict[str, Any]]]:
        """From the end, so that places stay what they are."""
        for index in reversed(range(start, start + len(gone))):
            where = f"{path}[{index}]" if gone[0].found.element.many else path
            yield [_code("delete"), _text("path", where)]

    def _changed(self, path: str, old: _Value, new: _Value) -> Iterator[list[dict[str, Any]]]:
        """Within an element that keeps a part of itself; else the whole is replaced."""
        children = old.found.children
        inside = (
            old.found == new.found
            and isinstance(old.json, dict)
            and isinstance(new.json, dict)
            and "resourceType" not in {*old.json, *new.json}
        )
        if inside and _share(old.json, new.json):
            yield from self.object(path, children, old.json, new.json)
        else:
            yield [_code("replace"), _text("path", path), self._part("value", new)]

    def _elements(self, defined: str, content: Resource) -> dict[str, list[_Value]]:
        """Name as FHIRPath says it -> values."""
        found: dict[str, list[_Value]] = {}
        properties = self._definitions.properties(defined)
        for key in dict.fromkeys(name.removeprefix("_") for name in content):
            property = properties[key]
            value, beside = content.get(key), content.get(f"_{key}")
            if not property.element.many:
                found[property.element.name] = [_Value(json=value, beside=beside, found=property)]
                continue
            values, others = value or [], beside or []
            length = max(len(values), len(others))
            padded = [[*each, *[None] * (length - len(each))] for each in (values, others)]
            found[property.element.name] = [
                _Value(json=one, beside=other, found=property) for one, other in zip(*padded, strict=True)
            ]
        return found

    def _part(self, name: str, value: _Value) -> dict[str, Any]:
        """A value as a part: as value[x] where Parameters has its type, as a resource, or child by child."""
        kind = "String" if value.found.type == "xhtml" else value.found.type[:1].upper() + value.found.type[1:]
        if isinstance(value.json, dict) and "resourceType" in value.json:
            return {"name": name, "resource": value.json}
        key = f"value{kind}"
        in_place = value.found.children == value.found.element.content_path
        if key in self._open and not in_place:
            sides = ((key, value.json), (f"_{key}", value.beside))
            return {"name": name, **{side: each for side, each in sides if each is not None}}
        inner = self._elements(value.found.children, value.json)
        return {"name": name, "part": [self._part(child, one) for child, values in inner.items() for one in values]}


def _share(one: Resource, other: Resource) -> bool:
    """Whether a child is the same in both."""
    return any(name in other and write_sorted(value) == write_sorted(other[name]) for name, value in one.items())


def _word(name: str) -> str:
    return f"`{name}`" if name in _WORDS else name


def _code(value: str) -> dict[str, Any]:
    return {"name": "type", "valueCode": value}


def _text(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "valueString": value}


def _number(name: str, value: int) -> dict[str, Any]:
    return {"name": name, "valueInteger": value}
