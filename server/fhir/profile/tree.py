"""The elements of a profile as a tree, from its snapshot or from its differential over the tree of its base.

https://hl7.org/fhir/R4/profiling.html#snapshot. Only what profiles say is kept: for the base standard's own types a
tree has no more than its root, as the standard's rules are checked before.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from server.errors import Unprocessable
from server.fhir.definitions import Definitions, Element
from server.fhir.profile.rule import BY_TYPE, BY_URL, STRUCTURE, Rule, TypeRule

#: The tree of a profile by its canonical; None where it is not known.
Trees = Callable[[str], Rule | None]
_STEP = re.compile(r"([^.:\[]+)(?:\[x\])?(?::([^.]+))?")
_EXTENSIONS = ("extension", "modifierExtension")


class Step(NamedTuple):
    """One step of an element's id."""

    name: str
    #: Names of the slice and of slices within it.
    slices: tuple[str, ...]


class _Place(NamedTuple):
    """Where a tree's element is, and where the standard defines its children; empty where several types are left."""

    rule: Rule
    path: str


def tree(definition: Mapping[str, Any], definitions: Definitions, trees: Trees) -> Rule:
    """The tree of a StructureDefinition; Unprocessable when what it is based on is not known."""
    kind = str(definition.get("type", ""))
    elements = (definition.get("snapshot") or {}).get("element") or ()
    if elements:
        root = Rule(label=kind, name=kind)
    else:
        root = _base(definition, kind, definitions, trees)
        elements = (definition.get("differential") or {}).get("element") or ()
    # A snapshot says all that holds below an element itself.
    builder = _Builder(definitions, None if definition.get("snapshot") else trees, root, kind)
    for steps, element in _identified(elements):
        builder.place(steps).take(element)
    return root


def _base(definition: Mapping[str, Any], kind: str, definitions: Definitions, trees: Trees) -> Rule:
    base = str(definition.get("baseDefinition", "")).partition("|")[0]
    if base.startswith(STRUCTURE) and base.removeprefix(STRUCTURE) in definitions.types:
        return Rule(label=kind, name=kind)
    found = trees(str(definition.get("baseDefinition", "")))
    if found is None:
        raise Unprocessable(f"The profile is based on {base}, which is not here; load that first.")
    return found.clone()


def _identified(elements: Sequence[Mapping[str, Any]]) -> Iterator[tuple[list[Step], Mapping[str, Any]]]:
    """Each element with the steps of its id below the type; where it has none, of what its path and slices make."""
    ids: dict[str, str] = {}
    for element in elements:
        path = str(element.get("path", ""))
        parent, _, last = path.rpartition(".")
        name = str(element.get("sliceName", ""))
        made = f"{ids.get(parent, parent)}.{last}" if parent else last
        id = str(element.get("id") or (f"{made}:{name}" if name else made))
        if id.count(".") != path.count("."):
            id = f"{made}:{name}" if name else made
        ids = {known: value for known, value in ids.items() if not known.startswith(f"{path}.")}
        ids[path] = id
        yield [_step(text) for text in id.split(".")[1:]], element


def _step(text: str) -> Step:
    match = _STEP.match(text)
    if match is None:
        return Step(text, ())
    return Step(match[1], tuple(match[2].split("/")) if match[2] else ())


class _Builder:
    """Finds, or makes, the rules that elements of a profile are about."""

    def __init__(self, definitions: Definitions, trees: Trees | None, root: Rule, kind: str) -> None:
        self._definitions = definitions
        self._trees = trees
        self._root = _Place(root, kind)

    def place(self, steps: Sequence[Step]) -> Rule:
        """The rule of an element by the steps of its id."""
        place = self._root
        for step in steps:
            place = self._below(place, step)
        return place.rule

    def _below(self, place: _Place, step: Step) -> _Place:
        self._unfold(place.rule)
        name, slices, kind = self._spelled(place.path, step)
        element = (self._definitions.elements(place.path) or {}).get(name) if place.path else None
        rule = place.rule.children.get(name)
        if rule is None:
            rule = place.rule.children[name] = Rule(label=_label(place.rule, name, element), name=name)
        for each in slices:
            rule = self._slice(rule, each, kind)
        return _Place(rule, self._path(rule, element))

    def _spelled(self, path: str, step: Step) -> tuple[str, tuple[str, ...], str]:
        """The element's name and slices; ``valueQuantity`` is the slice of value[x] that is of that type."""
        known = self._definitions.elements(path) if path else None
        if known is None or step.name in known:
            return step.name, step.slices, ""
        found = self._definitions.properties(path).get(step.name)
        if found is None or not found.element.choice:
            return step.name, step.slices, ""
        return found.element.name, step.slices or (step.name,), found.type

    def _slice(self, rule: Rule, name: str, kind: str) -> Rule:
        found = rule.slices.get(name)
        if found is None:
            label = f"{rule.label}/{name}" if ":" in rule.label.rpartition(".")[2] else f"{rule.label}:{name}"
            found = rule.slices[name] = Rule(label=label, name=rule.name)
            if kind:
                found.types = (TypeRule(code=kind),)
            if rule.slicing is None and rule.name in _EXTENSIONS:
                rule.slicing = BY_URL
            elif rule.slicing is None and kind:
                # The short way to say valueQuantity leaves no other type.
                rule.slicing = replace(BY_TYPE, rules="closed")
        return found

    def _unfold(self, rule: Rule) -> None:
        """Below an element that has to meet a profile of its own, that profile's elements are gone on with."""
        if self._trees is None or rule.children or len(rule.profiles) != 1 or len(rule.types or ()) != 1:
            return
        found = self._trees(rule.profiles[0])
        if found is not None:
            rule.children = found.clone().children

    def _path(self, rule: Rule, element: Element | None) -> str:
        codes = rule.codes
        if element is not None and element.content_path:
            return element.content_path
        if len(codes) == 1:
            return next(iter(codes))
        if element is not None and not codes and len(element.types) == 1:
            return element.types[0]
        return ""


def _label(parent: Rule, name: str, element: Element | None) -> str:
    return f"{parent.label}.{name}[x]" if element is not None and element.choice else f"{parent.label}.{name}"
