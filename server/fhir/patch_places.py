"""Where in a resource the elements stand that a FHIRPath gives: https://hl7.org/fhir/R4/fhirpatch.html

An element that FHIRPath gives doesn't know where it came from. So the expression is evaluated on a copy in which every
element carries an object of its own, complex ones themselves and primitives in what stands beside them, and these
objects lead back to the places in the resource.
"""

from dataclasses import dataclass
from typing import Any

from server.errors import Unprocessable
from server.fhir.definitions import Definitions
from server.fhir.fhirpath import Budget, Expression, Node


@dataclass(frozen=True, kw_only=True, slots=True)
class Element:
    """One element of a resource and where it stands."""

    #: The JSON object that holds it, and under which property.
    container: dict[str, Any]
    key: str
    #: Its place where the property is an array.
    index: int | None
    #: Where the container's children are defined; empty for the resource itself.
    path: str
    #: Name as FHIRPath says it: value, never valueQuantity.
    name: str
    #: Where its own children are defined.
    content_path: str
    primitive: bool

    def content(self) -> dict[str, Any]:
        """The JSON object that its children stand in; of a primitive the one beside it."""
        key = f"_{self.key}" if self.primitive else self.key
        held: Any = self.container
        at: Any = key
        if self.index is None:
            held.setdefault(key, {})
        else:
            held, at = held.setdefault(key, []), self.index
            held.extend([None] * (at + 1 - len(held)))
            held[at] = {} if held[at] is None else held[at]
        found: dict[str, Any] = held[at]
        return found


class Places:
    """The elements of one resource as it stands."""

    def __init__(self, definitions: Definitions, resource: dict[str, Any]) -> None:
        self._definitions = definitions
        self._elements: dict[int, Element] = {}
        kind = str(resource.get("resourceType"))
        self._copy = self._object(resource, kind)
        self._elements[id(self._copy)] = Element(
            container={"": resource}, key="", index=None, path="", name="", content_path=kind, primitive=False
        )

    def find(self, expression: Expression, budget: Budget | None = None) -> list[Element]:
        """The elements that an expression gives; Unprocessable for what is no element of this resource."""
        model, found = self._definitions, []
        # What is contained resolve() finds itself; other resources are out of a patch's reach.
        for item in expression.evaluate(self._copy, model=model, resolve=lambda _reference: None, budget=budget):
            mark = None
            if isinstance(item, Node):
                mark = item.value if isinstance(item.value, dict) else item.extra
            element = self._elements.get(id(mark)) if mark is not None else None
            if element is None:
                raise Unprocessable("The path gives something that is no element of this resource.")
            found.append(element)
        return found

    def _object(self, value: dict[str, Any], path: str) -> dict[str, Any]:
        properties = self._definitions.properties(path)
        made: dict[str, Any] = {}
        for key in dict.fromkeys(name.removeprefix("_") for name in value):
            found = properties.get(key)
            if found is None:
                made[key] = value.get(key)
                continue
            inner, beside = value.get(key), value.get(f"_{key}")
            name = key
            if self._definitions.types[found.type].kind == "primitive-type":
                # What the expression reads is the value; what leads back stands beside it.
                if inner is not None:
                    made[key] = inner
                name, inner = f"_{key}", _pairs(inner, beside)
            if isinstance(inner, list):
                made[name] = [self._item(value, key, index, each, path) for index, each in enumerate(inner)]
            else:
                made[name] = self._item(value, key, None, inner, path)
        return made

    def _item(self, container: dict[str, Any], key: str, index: int | None, value: Any, path: str) -> Any:
        found = self._definitions.properties(path)[key]
        primitive = self._definitions.types[found.type].kind == "primitive-type"
        if not isinstance(value, dict):
            return value
        inner = value.get("resourceType") if found.type == "Resource" else None
        children = inner if isinstance(inner, str) else "Element" if primitive else found.children
        made = self._object(value, children)
        self._elements[id(made)] = Element(
            container=container, key=key, index=index, path=path, name=found.element.name, content_path=children,
            primitive=primitive,
        )  # fmt: skip
        return made


def _pairs(value: Any, beside: Any) -> Any:
    """What stands beside a primitive, an empty object where nothing does; an array where the value is one."""
    if not isinstance(value, list) and not isinstance(beside, list):
        return beside if isinstance(beside, dict) else {}
    values, others = value if isinstance(value, list) else [], beside if isinstance(beside, list) else []
    length = max(len(values), len(others))
    return [others[at] if at < len(others) and isinstance(others[at], dict) else {} for at in range(length)]
