"""From an element to its children: https://hl7.org/fhirpath/N1/#path-selection and https://hl7.org/fhir/R4/fhirpath.html."""

from collections.abc import Iterator
from typing import Any

from server.fhir.fhirpath.frame import Frame, Step
from server.fhir.fhirpath.model import Definitions
from server.fhir.fhirpath.node import Collection, Node, resource_node
from server.fhir.fhirpath.type_specifiers import COMPLEX, PRIMITIVES, specialises

#: One JSON property that a name may mean: key, FHIR type of its values, path of their children, whether primitive.
_Spelling = tuple[str, str, str, bool]

_PRIMITIVE_SUFFIXES = {name[0].upper() + name[1:]: name for name in PRIMITIVES}
#: Without a model: types by the JSON value where only one kind can be meant.
_JSON_TYPES: dict[type, str] = {bool: "boolean", int: "integer"}


def spellings(model: Definitions, path: str, name: str) -> tuple[_Spelling, ...]:
    """The JSON properties that a name may mean at a path."""
    return tuple(
        (key, found.type, found.children, found.type in PRIMITIVES)
        for key, found in model.properties(path).items()
        if found.element.name == name
    )


def append(out: Collection, value: Any, spelling: _Spelling, extra: Any) -> None:
    """The nodes of one JSON property: of each item of an array, extensions beside their primitives."""
    _, type_name, path, _ = spelling
    if isinstance(value, list):
        extras = extra if isinstance(extra, list) else ()
        for index, each in enumerate(value):
            beside = extras[index] if index < len(extras) else None
            if each is not None or beside is not None:
                out.append(_node(each, type_name, path, beside))
    elif value is not None or isinstance(extra, dict):
        out.append(_node(value, type_name, path, extra))
    elif isinstance(extra, list):
        out.extend(_node(None, type_name, path, beside) for beside in extra if beside is not None)


def _node(value: Any, type_name: str, path: str, extra: Any) -> Node:
    if type(value) is dict and "resourceType" in value:
        return resource_node(value)
    if not type_name:
        type_name = _JSON_TYPES.get(type(value), "")
    return Node(value, type_name, path, extra if type(extra) is dict else None)


def _untyped_child(value: dict[str, Any], name: str, out: Collection) -> None:
    """Without a model: the key itself, else a choice by the type's name after it."""
    if name in value or "_" + name in value:
        append(out, value.get(name), (name, "", "", False), value.get("_" + name))
        return
    for key in value:
        bare = key.removeprefix("_")
        suffix = bare[len(name) :]
        if bare.startswith(name) and (suffix in COMPLEX or suffix in _PRIMITIVE_SUFFIXES):
            type_name = _PRIMITIVE_SUFFIXES.get(suffix, suffix)
            append(out, value.get(bare), (bare, type_name, type_name, False), value.get("_" + bare))
            return


def child_step(of: Step | None, name: str, model: Definitions | None) -> Step:
    """The children of that name; ``of`` gives the parents, else the collection that the step is applied to."""
    known: dict[str, tuple[_Spelling, ...]] = {}

    def children(frame: Frame, focus: Collection) -> Collection:
        out: Collection = []
        for item in focus if of is None else of(frame, focus):
            if type(item) is not Node:
                continue
            value = item.value
            if type(value) is not dict:
                if item.extra is not None and name in item.extra:
                    append(out, item.extra[name], (name, *_OF_PRIMITIVES.get(name, ("", "")), False), None)
                continue
            path = item.path
            meant = known.get(path)
            if meant is None:
                meant = known[path] = spellings(model, path, name) if model is not None else ()
            if not meant and (model is None or not path or (path not in model.types and "." not in path)):
                _untyped_child(value, name, out)
                continue
            for spelling in meant:
                key = spelling[0]
                found = value.get(key)
                extra = value.get("_" + key) if spelling[3] else None
                if found is not None or extra is not None:
                    append(out, found, spelling, extra)
        return out

    return children


#: What a primitive has beside its value: https://hl7.org/fhir/R4/datatypes.html#Element.
_OF_PRIMITIVES = {"id": ("string", "string"), "extension": ("Extension", "Extension")}


def root_step(name: str, model: Definitions | None) -> Step:
    """A path's first name: the type of the context, which then stays where it is, else a child's name."""
    children = child_step(None, name, model)
    if not name[:1].isupper():
        return children

    def context_or_children(frame: Frame, focus: Collection) -> Collection:
        if len(focus) == 1 and type(focus[0]) is Node and specialises(focus[0].type, name, model):
            return focus
        return children(frame, focus)

    return context_or_children


def all_children(item: Any, model: Definitions | None) -> Iterator[Node]:
    """Every child of an item, whatever its name."""
    if type(item) is not Node:
        return
    out: Collection = []
    if type(item.value) is not dict:
        for key, found in (item.extra or {}).items():
            append(out, found, (key, *_OF_PRIMITIVES.get(key, ("", "")), False), None)
        yield from out
        return
    properties = model.properties(item.path) if model is not None else {}
    for key in dict.fromkeys(key.removeprefix("_") for key in item.value if key != "resourceType"):
        found = properties.get(key)
        if found is not None:
            spelling: _Spelling = (key, found.type, found.children, True)
        else:
            spelling = (key, "", "", False)
        append(out, item.value.get(key), spelling, item.value.get("_" + key))
    yield from out
