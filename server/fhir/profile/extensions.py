"""Extensions held against their definitions: https://hl7.org/fhir/R4/extensibility.html"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from server.errors import BadRequest, Unprocessable
from server.fhir.fhirpath import Node, compile_expression
from server.fhir.fhirpath.node import resource_node
from server.fhir.profile.instance import Elements, Item, Situation
from server.fhir.profile.rule import STRUCTURE
from server.fhir.validate.problem import Problem, below, wrong

_DEEPEST = 100
#: What R5's definitions call the types that have a canonical URL.
_CANONICAL_RESOURCES = frozenset({"CanonicalResource", "MetadataResource"})


class Occurrence(NamedTuple):
    """One extension in a resource."""

    item: Item
    modifier: bool
    #: What it extends, and where the standard defines that.
    holder: Node
    path: str
    #: Steps from the extended element outwards.
    steps: tuple[str, ...]
    #: URL of the extension that it is in, or in whose value.
    around: str


def extensions(resource: Mapping[str, Any], elements: Elements) -> Iterator[Occurrence]:
    """Every extension of a resource, those of contained resources and of entries left out."""
    node = resource_node(dict(resource))
    yield from _below(Occurrence(Item(-1, node), False, node, node.type, (), ""), elements)


def _below(each: Occurrence, elements: Elements) -> Iterator[Occurrence]:
    """The extensions of one element, and of those in it."""
    node, path, steps = each.holder, each.path, each.steps
    if len(steps) > _DEEPEST:
        return
    around = each.around
    if node.type == "Extension" and isinstance(node.value, dict):
        around = str(node.value.get("url"))
    for name in ("extension", "modifierExtension"):
        for item in elements.values(node, name):
            yield Occurrence(item, name == "modifierExtension", node, path, steps, around)
    holder = node.value if isinstance(node.value, dict) else node.extra or {}
    known = elements.definitions.properties(node.path)
    for name in {known[key.removeprefix("_")].element.name for key in holder if key.removeprefix("_") in known}:
        for item in elements.values(node, name):
            if item.node.value is None and item.node.extra is None:
                continue
            if isinstance(item.node.value, dict) and "resourceType" in item.node.value:
                continue
            if not isinstance(item.node.value, dict) and item.node.extra is None:
                continue
            element = (elements.definitions.elements(node.path) or {})[name]
            inner = (f"[{item.place}]", name) if item.place >= 0 else (name,)
            yield from _below(Occurrence(item, False, item.node, element.path, (*inner, *steps), around), elements)


def checked(situation: Situation) -> list[Problem]:
    """What is wrong with the extensions of a resource, as their own definitions see it."""
    problems: list[Problem] = []
    for each in extensions(situation.resource, situation.profiles.elements):
        found = _one(each, situation)
        name = "modifierExtension" if each.modifier else "extension"
        problems += _outwards(each.steps, each.item.at(name, found)) if found else []
    return problems


def _outwards(steps: tuple[str, ...], problems: list[Problem]) -> list[Problem]:
    for step in steps:
        below(step, problems)
    return problems


def _one(each: Occurrence, situation: Situation) -> list[Problem]:
    value = each.item.node.value
    url = value.get("url") if isinstance(value, dict) else None
    if not isinstance(url, str):
        return []
    if each.holder.type == "Extension" and ":" not in url:
        # What a part of a complex extension may be is said by the definition around it.
        return []
    if ":" not in url:
        return wrong("value", "the URL of an extension is absolute; write it whole", "url")
    definition = situation.profiles.definition(url)
    if definition is None:
        return _unknown(url, each.modifier)
    problems: list[Problem] = []
    check = situation.profiles.check(url)
    if check is not None:
        problems += check(each.item.node, situation) or ()
    if not _is_allowed(definition, each, situation):
        problems += wrong("structure", f"the extension {url} can't stand here; it is for {_places(definition)}")
    problems += _context_invariants(definition, url, each, situation)
    if bool(_is_modifier(definition)) != each.modifier:
        right = "extension" if each.modifier else "modifierExtension"
        problems += wrong("structure", f"the extension {url} belongs under {right}; move it there")
    return problems


def _unknown(url: str, modifier: bool) -> list[Problem]:
    if modifier:
        details = f"the modifier extension {url} is not known here and may change what all of this means; load its "
        return wrong("not-supported", f"{details}definition, or leave it out")
    details = f"the extension {url} is not known here, so it was not checked; load its definition for that"
    return [Problem(code="not-found", details=details, severity="information")]


def _is_modifier(definition: Mapping[str, Any]) -> bool:
    for kind in ("snapshot", "differential"):
        for element in (definition.get(kind) or {}).get("element") or ():
            if element.get("path") == "Extension" and "isModifier" in element:
                return bool(element["isModifier"])
    return False


def _contexts(definition: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [each for each in definition.get("context") or () if isinstance(each, dict)]


def _places(definition: Mapping[str, Any]) -> str:
    return ", ".join(str(each.get("expression")) for each in _contexts(definition))


def _is_allowed(definition: Mapping[str, Any], each: Occurrence, situation: Situation) -> bool:
    """https://hl7.org/fhir/R4/defining-extensions.html#context"""
    contexts = _contexts(definition)
    return not contexts or any(_fits(one, each, situation) for one in contexts)


def _fits(context: Mapping[str, Any], each: Occurrence, situation: Situation) -> bool:
    kind, expression = context.get("type"), str(context.get("expression", ""))
    if kind == "extension":
        return each.around == expression
    if kind == "fhirpath":
        return _selects(expression, each, situation)
    definitions = situation.profiles.definitions
    if expression.startswith("http"):
        expression = expression.removeprefix(STRUCTURE)
        if expression.startswith("http"):
            # An element of a profile: who declares the profile is not looked at.
            return True
    # "Element" stands for everything, resources too.
    names = {"Element", "*", each.path.removesuffix("[x]"), *definitions.ancestry(each.holder.type)}
    if "url" in (definitions.elements(each.path) or {}) and definitions.is_resource(each.path):
        names |= _CANONICAL_RESOURCES
    return expression.removesuffix("[x]") in names


def _selects(expression: str, each: Occurrence, situation: Situation) -> bool:
    """Whether a FHIRPath context selects the extended element; what can't be evaluated is let pass."""
    try:
        found = compile_expression(expression).evaluate(
            resource_node(situation.resource), model=situation.profiles.definitions, resolve=situation.resolve
        )
    except (BadRequest, Unprocessable):
        return True
    return any(isinstance(one, Node) and one.value is each.holder.value for one in found)


def _context_invariants(
    definition: Mapping[str, Any], url: str, each: Occurrence, situation: Situation
) -> list[Problem]:
    problems: list[Problem] = []
    for expression in definition.get("contextInvariant") or ():
        context = {
            "extension": [each.item.node], "resource": situation.resource, "rootResource": situation.root,
        }  # fmt: skip
        try:
            found = compile_expression(str(expression)).evaluate(
                each.holder, context=context, model=situation.profiles.definitions, resolve=situation.resolve
            )
        except (BadRequest, Unprocessable):
            continue
        if found and found[0] is False:
            problems += wrong("invariant", f"the extension {url} can't stand here: it asks for {expression}")
    return problems
