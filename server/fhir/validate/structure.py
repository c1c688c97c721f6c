"""The structure of resources and datatypes in JSON: https://hl7.org/fhir/R4/json.html.

For each path of the standard one closure is made, when it is first met; it knows the JSON properties that the path may
have and asks, for each one present, the closure of its type. Nothing is built while nothing is wrong.
"""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, NamedTuple

from server.fhir.definitions import Definitions, Property
from server.fhir.validate.bindings import Binding, required_binding
from server.fhir.validate.invariants import invariants
from server.fhir.validate.primitives import Primitive, primitive
from server.fhir.validate.problem import Problem, Problems, Scope, below, wrong
from server.fhir.validate.references import check_contained, check_reference

#: Checks a value that stands in an object; the object is needed for what stands beside a primitive.
Check = Callable[[Any, Scope], Problems]

_RESOURCE = ("Resource", "DomainResource")


class _Entry(NamedTuple):
    """What may stand under one JSON property."""

    check: Check
    #: Element name where it is a choice, else empty.
    choice: str
    #: Whether it is an array of primitives, which may have nulls beside extensions.
    sparse: bool


class Structures(dict[str, Check]):
    """The checks of one edition's types and in-place elements by path, each made when first asked for."""

    def __init__(self, definitions: Definitions) -> None:
        super().__init__()
        self.definitions = definitions
        self.primitives: dict[str, Primitive] = {
            name: primitive(name, each.regex)
            for name, each in definitions.types.items()
            if each.kind == "primitive-type"
        }

    def __missing__(self, path: str) -> Check:
        element = self.definitions.element(path)
        kind = element.types[0] if element is not None else path
        check = _object_check(self, path, kind)
        self[path] = check
        return check

    def resource(self, value: Any, scope: Scope) -> Problems:
        """A resource inside another: of whatever type it says, as long as there is such a type."""
        name = value.get("resourceType") if isinstance(value, dict) else None
        if not isinstance(name, str) or not self.definitions.is_resource(name):
            return wrong("structure", "a resource names its type in resourceType; give one of the standard's")
        return self[name](value, scope)


def _object_check(structures: Structures, path: str, kind: str) -> Check:
    table = {name: _entry(structures, found) for name, found in structures.definitions.properties(path).items()}
    for name, entry in list(table.items()):
        if _is_primitive(structures, name, path):
            table[f"_{name}"] = _Entry(_beside(structures, many=entry.sparse), "", False)
    if structures.definitions.is_resource(path):
        table["resourceType"] = _Entry(lambda _value, _scope: None, "", False)
    parts = _parts_check(path, table, _required(structures.definitions, path))
    rules = _rules(structures.definitions, path, kind)

    def check(value: Any, scope: Scope) -> Problems:
        if type(value) is not dict:
            return wrong("structure", f"{kind} is a JSON object; put it in braces")
        if not value or (len(value) == 1 and "id" in value):
            return wrong("structure", "an element can't be empty, nor have an id alone (ele-1); leave it out")
        problems = parts(value, scope)
        if problems:
            return problems
        for rule in rules:
            found = rule(value, scope)
            if found is not None:
                problems += found
        return problems or None

    return check


def _parts_check(
    path: str, table: dict[str, _Entry], required: list[tuple[str, frozenset[str]]]
) -> Callable[[dict[str, Any], Scope], list[Problem]]:
    """The check of what stands in an object, property by property, and of what is missing."""

    def check(value: dict[str, Any], scope: Scope) -> list[Problem]:
        problems: list[Problem] = []
        chosen = ""
        for name, each in value.items():
            entry = table.get(name)
            if entry is None:
                problems += _unknown(name, path, table)
                continue
            if entry.choice:
                if chosen == entry.choice:
                    problems += wrong("structure", f"{chosen}[x] is a choice; keep one of its types", chosen)
                chosen = entry.choice
            found = entry.check(each, scope)
            if found is None and entry.sparse and None in each:
                found = _holes(each, value.get(f"_{name}"))
            if found is not None:
                problems += below(entry.choice or name.removeprefix("_"), found)
        for name, spellings in required:
            if spellings.isdisjoint(value):
                problems += wrong("required", f"{name} is missing; {path} can't do without it", name)
        return problems

    return check


def _is_primitive(structures: Structures, name: str, path: str) -> bool:
    return structures.definitions.properties(path)[name].type in structures.primitives


def _unknown(name: str, path: str, table: dict[str, _Entry]) -> list[Problem]:
    near = get_close_matches(name, table, n=1)
    cure = f"did you mean {near[0]}?" if near else "remove it or send it as an extension"
    return wrong("structure", f"{path} has no element {name[:64]!r}; {cure}")


def _required(definitions: Definitions, path: str) -> list[tuple[str, frozenset[str]]]:
    """Elements that can't be left out, each with its JSON spellings, those for extensions alone included."""
    spellings: dict[str, set[str]] = {}
    for name, found in definitions.properties(path).items():
        if found.element.min > 0:
            spellings.setdefault(found.element.name, set()).update((name, f"_{name}"))
    return [(name, frozenset(spelled)) for name, spelled in spellings.items()]


def _rules(definitions: Definitions, path: str, kind: str) -> list[Check]:
    """What is asked of an element as a whole once its parts are sound."""
    rules: list[Check] = []
    if path == "Extension":
        rules.append(_extension_rule)
    if definitions.is_resource(path) and "DomainResource" in definitions.ancestry(path):
        rules.append(lambda value, _scope: check_contained(value) if "contained" in value else None)
    places = (path, *(name for name in definitions.ancestry(kind) if name != path))
    stated = invariants(definitions, places, kind, path)
    return [*rules, stated] if stated is not None else rules


def _extension_rule(value: dict[str, Any], _scope: Scope) -> Problems:
    has_value = any(name.startswith(("value", "_value")) for name in value)
    if has_value != ("extension" in value):
        return None
    return wrong("invariant", "an extension has either a value or extensions, one of them (ext-1)")


def _entry(structures: Structures, found: Property) -> _Entry:
    element, definitions = found.element, structures.definitions
    known = structures.primitives.get(found.type)
    binding = required_binding(element, found.type, definitions)
    item = _primitive_check(known, binding) if known is not None else _complex_check(structures, found, binding)
    # Those of an element that is defined in place are asked there, once its parts are sound.
    stated = invariants(definitions, (element.path,), found.type, found.children)
    if stated is not None and found.children != element.path:
        item = _both(item, stated)
    if element.max == "0":
        item = _forbidden(element.name)
    check = _array(item, sparse=known is not None) if element.many else item if known is not None else _one(item)
    return _Entry(check, element.name if element.choice else "", element.many and known is not None)


def _both(first: Check, second: Check) -> Check:
    return lambda value, scope: first(value, scope) or second(value, scope)


def _forbidden(name: str) -> Check:
    return lambda _value, _scope: wrong("structure", f"{name} can't stand here; remove it")


def _primitive_check(known: Primitive, binding: Binding | None) -> Check:
    def check(value: Any, _scope: Scope) -> Problems:
        fault = known(value)
        if fault is not None:
            return wrong("value", "there is one value here, not an array" if type(value) is list else fault)
        if binding is not None:
            fault = binding(value)
            if fault is not None:
                return wrong("code-invalid", fault)
        return None

    return check


def _complex_check(structures: Structures, found: Property, binding: Binding | None) -> Check:
    path, definitions = found.children, structures.definitions
    if found.type in _RESOURCE:
        return _resource_check(structures, contained=found.element.path == "DomainResource.contained")
    targets = found.element.targets
    if found.type == "Reference" and targets:

        def reference(value: Any, scope: Scope) -> Problems:
            return structures[path](value, scope) or check_reference(value, targets, scope, definitions)

        return reference
    if binding is None:
        # Looked up at each call: types contain each other, and asking now would not come to an end.
        return lambda value, scope: structures[path](value, scope)  # noqa: PLW0108

    def bound(value: Any, scope: Scope) -> Problems:
        problems = structures[path](value, scope)
        fault = None if problems else binding(value)
        return problems if fault is None else wrong("code-invalid", fault)

    return bound


def _resource_check(structures: Structures, contained: bool) -> Check:
    """A resource inside: what is contained shares its container, in a Bundle or Parameters each is its own root."""
    if contained:
        return lambda value, scope: structures.resource(value, Scope(scope.root, value))
    return lambda value, _scope: structures.resource(value, Scope(value, value))


def _one(item: Check) -> Check:
    def check(value: Any, scope: Scope) -> Problems:
        if type(value) is list:
            return wrong("structure", "there is one value here, not an array")
        return item(value, scope)

    return check


def _array(item: Check, sparse: bool) -> Check:
    def check(value: Any, scope: Scope) -> Problems:
        if type(value) is not list:
            return wrong("structure", "there may be several here, so JSON has an array; put it in brackets")
        if not value:
            return wrong("structure", "an array can't be empty; leave it out")
        problems: list[Problem] = []
        for index, each in enumerate(value):
            if each is None and sparse:
                continue
            found = item(each, scope)
            if found is not None:
                problems += below(f"[{index}]", found)
        return problems or None

    return check


def _holes(values: list[Any], beside: Any) -> Problems:
    """Nulls of an array of primitives that have no extensions beside them."""
    for index, value in enumerate(values):
        if value is None and not (isinstance(beside, list) and index < len(beside) and beside[index]):
            return wrong("structure", "null stands only where extensions stand beside; leave it out", f"[{index}]")
    return None


def _beside(structures: Structures, many: bool) -> Check:
    """What stands under ``_name``: id and extensions of a primitive."""

    def item(value: Any, scope: Scope) -> Problems:
        return structures["Element"](value, scope)

    if not many:
        return _one(item)
    return _array(lambda value, scope: None if value is None else item(value, scope), sparse=True)
