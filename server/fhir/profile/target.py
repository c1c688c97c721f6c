"""Types of values and targets of references that a profile leaves: https://hl7.org/fhir/R4/profiling.html"""

import re
from collections.abc import Sequence

from server.fhir.fhirpath import Node
from server.fhir.fhirpath.node import resource_node
from server.fhir.profile.instance import Check, Situation, fails
from server.fhir.profile.rule import STRUCTURE, TypeRule
from server.fhir.validate.problem import Problem, Problems, wrong

#: ``Type/id`` at the end of a relative or absolute reference to a FHIR server.
_LITERAL = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?$")


def meets(canonical: str, node: Node, situation: Situation) -> Problems:
    """What keeps a value from meeting a profile or being of a type; an information where nobody knows."""
    definitions = situation.profiles.definitions
    name = canonical.removeprefix(STRUCTURE)
    if name in definitions.types:
        if name in definitions.ancestry(node.type):
            return None
        return wrong("structure", f"a {node.type} can't stand here; {name} is asked for")
    check = situation.profiles.check(canonical)
    if check is None:
        details = f"the profile {canonical} is not known here, so the value was not held against it; load it first"
        return [Problem(code="not-found", details=details, severity="information")]
    kind = situation.profiles.type_of(canonical)
    if kind not in definitions.ancestry(node.type):
        return wrong("structure", f"a {node.type} can't meet the profile {canonical}, which is for {kind}")
    if type(node.value) is dict and "resourceType" in node.value:
        situation = situation.at(node.value)
        key = (id(node.value), canonical)
        known = situation.done.get(key)
        if known is not None:
            return None if known else wrong("structure", f"it does not meet the profile {canonical}")
        situation.done[key] = True
        problems = check(node, situation)
        situation.done[key] = not fails(problems)
        return problems
    return check(node, situation)


def meets_one(canonicals: Sequence[str], node: Node, situation: Situation) -> Problems:
    """What keeps a value from meeting any of the profiles; of one profile in full, of several in short."""
    if len(canonicals) == 1:
        return meets(canonicals[0], node, situation)
    for canonical in canonicals:
        problems = meets(canonical, node, situation)
        if not fails(problems):
            return problems
    return wrong("structure", f"it meets none of the profiles {', '.join(canonicals)}; make it meet one")


def typed(types: Sequence[TypeRule], tail: str) -> Check:
    """The check that a value is of one of the types, and meets a profile of that type where it has such."""
    codes = frozenset(each.code for each in types)
    named = ", ".join(sorted(codes))

    def check(node: Node, situation: Situation) -> Problems:
        if not codes.intersection(situation.profiles.definitions.ancestry(node.type)):
            return wrong("structure", f"a {node.type} can't stand here; allowed: {named}{tail}")
        return None

    return check


def profiled(rule: TypeRule) -> Check:
    """The check that a value of a type meets one of the profiles on it."""

    def check(node: Node, situation: Situation) -> Problems:
        if rule.code not in situation.profiles.definitions.ancestry(node.type):
            return None
        return meets_one(rule.profiles, node, situation)

    return check


def referring(rule: TypeRule, tail: str) -> Check:
    """The check that a reference leads to what the profile wants: by its type, and in full where it can be followed."""

    def check(node: Node, situation: Situation) -> Problems:
        value = node.value if type(node.value) is dict else {}
        literal = value.get("reference")
        problems: list[Problem] = []
        if isinstance(literal, str):
            problems += _aggregated(rule, literal, situation, tail) or ()
            target = situation.resolve(literal)
            if target is not None and rule.targets:
                problems += _led_to(rule.targets, target, situation, tail) or ()
                return problems or None
        name = _named(literal, value.get("type"))
        if name is not None and rule.targets and not _may_be(name, rule.targets, situation):
            allowed = ", ".join(url.removeprefix(STRUCTURE) for url in rule.targets)
            problems += wrong("value", f"a {name} can't be referred to here; allowed: {allowed}{tail}", "reference")
        return problems or None

    return check


def _named(literal: object, stated: object) -> str | None:
    match = _LITERAL.search(literal) if isinstance(literal, str) else None
    if match is not None:
        return match[1]
    return stated if isinstance(stated, str) and not stated.startswith("http") else None


def _may_be(name: str, targets: Sequence[str], situation: Situation) -> bool:
    """Whether a resource of that type can be one of the targets; it can where nobody knows what they are."""
    ancestry = set(situation.profiles.definitions.ancestry(name))
    kinds = [situation.profiles.type_of(target) for target in targets]
    return any(kind is None or kind in ancestry for kind in kinds) or len(ancestry) == 1


def _led_to(targets: Sequence[str], target: dict[str, object], situation: Situation, tail: str) -> Problems:
    node = resource_node(target)
    fitting = [each for each in targets if _may_be(node.type, (each,), situation)]
    if not fitting:
        allowed = ", ".join(url.removeprefix(STRUCTURE) for url in targets)
        return wrong("value", f"a {node.type} can't be referred to here; allowed: {allowed}{tail}", "reference")
    answers = [meets(each, node, situation) for each in fitting]
    if any(not fails(each) for each in answers):
        return None
    faults = next(each for each in answers if fails(each)) or []
    first = next(each for each in faults if each.severity == "error")
    place = "".join(step if step.startswith("[") else f".{step}" for step in reversed(first.steps))
    wanted = " or ".join(fitting)
    return wrong(
        "value", f"what is referred to does not meet {wanted}: {node.type}{place}: {first.details}", "reference"
    )


def _aggregated(rule: TypeRule, literal: str, situation: Situation, tail: str) -> Problems:
    """https://hl7.org/fhir/R4/valueset-resource-aggregation-mode.html"""
    if not rule.aggregation:
        return None
    if literal.startswith("#"):
        fits = "contained" in rule.aggregation
    elif "referenced" in rule.aggregation:
        fits = True
    else:
        fits = "bundled" in rule.aggregation and situation.resolve(literal) is not None
    if fits:
        return None
    return wrong("value", f"what is referred to has to be {' or '.join(rule.aggregation)}{tail}", "reference")
