"""FHIRPath Patch: operations in a Parameters resource, places named by FHIRPath: https://hl7.org/fhir/R4/fhirpatch.html"""

import copy
from collections.abc import Callable
from typing import Any

from server.errors import BadRequest, TooLarge, Unprocessable
from server.fhir.definitions import Definitions, Property
from server.fhir.fhirpath import Budget, Expression, compile_expression
from server.fhir.patch_places import Element, Places
from server.fhir.patch_value import PatchValue, named_parts, whole_number

#: Each operation looks through the whole resource.
MOST_OPERATIONS = 1000


def patched(definitions: Definitions, resource: dict[str, Any], parameters: Any) -> dict[str, Any]:
    """The resource after all operations, one after the other.

    BadRequest for what is no FHIRPath Patch, Unprocessable for an operation that this resource doesn't allow.
    """
    patch = _Patch(definitions, copy.deepcopy(resource))
    for place, operation in enumerate(_operations(parameters)):
        where = f"Parameters.parameter[{place}]"
        try:
            patch.apply(operation)
        except BadRequest as error:
            raise BadRequest(error.details, expression=where) from error
        except Unprocessable as error:
            raise Unprocessable(error.details, expression=where) from error
    return patch.resource


def _operations(parameters: Any) -> list[Any]:
    listed = parameters.get("parameter", []) if isinstance(parameters, dict) else None
    if not isinstance(listed, list) or parameters.get("resourceType") != "Parameters":
        raise BadRequest("A FHIRPath Patch is a Parameters resource with a parameter for each operation.")
    if len(listed) > MOST_OPERATIONS:
        raise TooLarge(f"A FHIRPath Patch has at most {MOST_OPERATIONS} operations here.")
    return listed


class _Patch:
    """One resource being changed."""

    def __init__(self, definitions: Definitions, resource: dict[str, Any]) -> None:
        self.resource = resource
        self._definitions = definitions
        #: One for all operations: whoever may write chooses the expressions.
        self._budget = Budget()
        self._operations: dict[str, Callable[[dict[str, Any]], None]] = {
            "add": self._add,
            "insert": self._insert,
            "delete": self._delete,
            "replace": self._replace,
            "move": self._move,
        }

    def apply(self, parameter: Any) -> None:
        """Carries out one operation."""
        if not isinstance(parameter, dict) or parameter.get("name") != "operation":
            raise BadRequest("Every parameter of a FHIRPath Patch is named operation.")
        parts = named_parts(parameter)
        apply = self._operations.get(_text(parts, "type"))
        if apply is None:
            raise BadRequest(f"type is one of {', '.join(self._operations)}.")
        apply(parts)

    def _add(self, parts: dict[str, Any]) -> None:
        element = self._only(self._expression(parts))
        self._put(element.content(), element.content_path, _text(parts, "name"), _value(parts))

    def _put(self, content: dict[str, Any], path: str, name: str, value: PatchValue) -> None:
        """One more element of that name among the children of ``content``, which ``path`` defines."""
        key, found = self._property(path, name, value)
        if found.element.many:
            _into_list(content, key, None, *self._json(found, value))
            return
        if any(_holds(content, spelling) for spelling in self._spellings(path, name)):
            raise Unprocessable(f"There is a {found.element.name} already and it does not repeat; replace it.")
        _set(content, key, *self._json(found, value))

    def _insert(self, parts: dict[str, Any]) -> None:
        content, path, name = self._collection(parts)
        index, value = whole_number(parts, "index"), _value(parts)
        key, found = self._property(path, name, value)
        if not found.element.many:
            raise Unprocessable(f"{found.element.name} does not repeat; add or replace it.")
        if index > _length(content, key):
            raise Unprocessable("index is beyond the end of the list.")
        _into_list(content, key, index, *self._json(found, value))

    def _delete(self, parts: dict[str, Any]) -> None:
        expression = self._expression(parts)
        found = self._find(expression)
        if not found:
            return
        element = self._only(expression, found)
        self._refuse_whole(element)
        if element.index is None:
            element.container.pop(element.key, None)
            element.container.pop(f"_{element.key}", None)
        else:
            _out_of_list(element.container, element.key, element.index)
        self.resource = _without_empty(self.resource)

    def _replace(self, parts: dict[str, Any]) -> None:
        element, value = self._only(self._expression(parts)), _value(parts)
        self._refuse_whole(element)
        key, found = self._property(element.path, element.name, value)
        new, beside = self._json(found, value)
        if element.index is None:
            for spelling in self._spellings(element.path, element.name):
                element.container.pop(spelling, None)
                element.container.pop(f"_{spelling}", None)
            _set(element.container, key, new, beside)
        else:
            _out_of_list(element.container, key, element.index)
            _into_list(element.container, key, element.index, new, beside)

    def _move(self, parts: dict[str, Any]) -> None:
        content, path, name = self._collection(parts)
        source, destination = whole_number(parts, "source"), whole_number(parts, "destination")
        key = next((key for key in self._spellings(path, name) if isinstance(content.get(key), list)), None)
        if key is None or max(source, destination) >= _length(content, key):
            raise Unprocessable("source and destination are places in the list; it is shorter.")
        _into_list(content, key, destination, *_out_of_list(content, key, source))

    def _expression(self, parts: dict[str, Any]) -> Expression:
        expression = compile_expression(_text(parts, "path"))
        expression.check(str(self.resource.get("resourceType")), self._definitions)
        return expression

    def _find(self, expression: Expression) -> list[Element]:
        return Places(self._definitions, self.resource).find(expression, self._budget)

    def _only(self, expression: Expression, found: list[Element] | None = None) -> Element:
        """The one element that a path gives."""
        elements = self._find(expression) if found is None else found
        if len(elements) != 1:
            raise Unprocessable(f"The path gives {len(elements) or 'no'} elements; it has to give one.")
        return elements[0]

    def _collection(self, parts: dict[str, Any]) -> tuple[dict[str, Any], str, str]:
        """What holds the list that a path names, where its children are defined, and the list's element name."""
        split = self._expression(parts).parent()
        if split is None:
            raise Unprocessable("The path has to end in the name of the list.")
        element = self._only(split[0])
        return element.content(), element.content_path, split[1]

    def _refuse_whole(self, element: Element) -> None:
        if not element.path:
            raise Unprocessable("The path gives the resource itself; update or delete it instead.")

    def _spellings(self, path: str, name: str) -> list[str]:
        """JSON properties that an element may stand under: several for value[x]."""
        properties = self._definitions.properties(path)
        wanted = properties[name].element.name if name in properties else name
        return [key for key, found in properties.items() if found.element.name == wanted]

    def _property(self, path: str, name: str, value: PatchValue) -> tuple[str, Property]:
        """The JSON property that a value of that type stands under."""
        properties = self._definitions.properties(path)
        spellings = self._spellings(path, name)
        if not spellings:
            raise Unprocessable("There is no element of that name there; check its spelling.")
        for fits in (value.is_of, value.could_be):
            for key in spellings:
                if fits(properties[key].type, self._definitions):
                    return key, properties[key]
        allowed = ", ".join(properties[key].type for key in spellings)
        raise Unprocessable(f"{properties[spellings[0]].element.name} is of type {allowed}; the value is not.")

    def _json(self, found: Property, value: PatchValue) -> tuple[Any, dict[str, Any] | None]:
        """The value as JSON, and what stands beside a primitive."""
        if value.parts is None:
            # A later operation may change what this one brought.
            return copy.deepcopy((value.json, value.beside))
        content: dict[str, Any] = {}
        for name, inner in value.parts:
            self._put(content, found.children, name, inner)
        return content, None


def _text(parts: dict[str, Any], name: str) -> str:
    value = PatchValue.of(parts[name]).json if name in parts else None
    if not isinstance(value, str) or not value:
        raise BadRequest(f"The operation needs a part {name} with text.")
    return value


def _value(parts: dict[str, Any]) -> PatchValue:
    if "value" not in parts:
        raise BadRequest("The operation needs a part value.")
    return PatchValue.of(parts["value"])


def _holds(content: dict[str, Any], key: str) -> bool:
    return key in content or f"_{key}" in content


def _set(content: dict[str, Any], key: str, value: Any, beside: dict[str, Any] | None) -> None:
    if value is not None:
        content[key] = value
    if beside is not None:
        content[f"_{key}"] = beside


def _length(content: dict[str, Any], key: str) -> int:
    return max(len(content.get(key) or ()), len(content.get(f"_{key}") or ()))


def _into_list(content: dict[str, Any], key: str, index: int | None, value: Any, beside: dict[str, Any] | None) -> None:
    """Puts an item before that place, or at the end; what stands beside the others keeps standing beside them."""
    length = _length(content, key)
    at = length if index is None else index
    for name, item in ((key, value), (f"_{key}", beside)):
        if item is None and name not in content:
            continue
        items = content.setdefault(name, [])
        items.extend([None] * (length - len(items)))
        items.insert(at, item)


def _out_of_list(content: dict[str, Any], key: str, index: int) -> tuple[Any, dict[str, Any] | None]:
    taken = []
    for name in (key, f"_{key}"):
        items = content.get(name) or []
        taken.append(items.pop(index) if index < len(items) else None)
        if name in content and all(item is None for item in items):
            del content[name]
    return taken[0], taken[1]


def _without_empty(value: Any) -> Any:
    """The same without objects and arrays that nothing is left of: https://hl7.org/fhir/R4/json.html"""
    if isinstance(value, dict):
        inner = {name: _without_empty(each) for name, each in value.items()}
        return {name: each for name, each in inner.items() if each not in ({}, [])}
    if not isinstance(value, list):
        return value
    items = [_without_empty(each) for each in value]
    if any(isinstance(each, dict) and each for each in items) and None in items:
        # Places count where an array stands beside one of primitives.
        return [each if each != {} else None for each in items]
    return [each for each in items if each not in ({}, [])]
