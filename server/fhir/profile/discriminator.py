"""Which slice a value belongs to: https://hl7.org/fhir/R4/profiling.html#discriminator"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from server.fhir.fhirpath import Node
from server.fhir.fhirpath.node import resource_node
from server.fhir.profile.instance import Profiles, Situation, fails
from server.fhir.profile.rule import Rule, Slicing
from server.fhir.profile.target import meets_one
from server.fhir.profile.values import equals, fits

#: Whether a value belongs to a slice, as far as one discriminator goes.
Belongs = Callable[[Node, Situation], bool]
#: Makes the check of a rule, without its cardinality.
Compile = Callable[[Rule], Callable[[Node, Situation], Any] | None]
_STEP = re.compile(
    r"\s*(?:(?P<this>\$this)|extension\(\s*['\"](?P<url>[^'\"]+)['\"]\s*\)|(?:ofType|as)\((?P<type>\w+)\)"
    r"|(?P<resolve>resolve\(\))|(?P<name>\w+)(?:\[x\])?)\s*(?:\.|$)"
)

#: (what, argument): this, url, type, resolve or name.
Steps = tuple[tuple[str, str], ...]


def steps_of(path: str) -> Steps | None:
    """The steps of a discriminator's path; None for what such a path may not have."""
    found, at = [], 0
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None or match.end() == at:
            return None
        kind = str(match.lastgroup)
        if kind != "this":
            found.append((kind, match[kind]))
        at = match.end()
    return tuple(found)


def values(node: Node, steps: Steps, situation: Situation) -> list[Node]:
    """What a path leads to from a value."""
    found = [node]
    for kind, argument in steps:
        found = [one for each in found for one in _step(each, kind, argument, situation)]
    return found


def _step(node: Node, kind: str, argument: str, situation: Situation) -> Iterator[Node]:
    elements = situation.profiles.elements
    if kind == "name":
        yield from (item.node for item in elements.values(node, argument))
    elif kind == "url":
        inside = (item.node for item in elements.values(node, "extension"))
        yield from (each for each in inside if isinstance(each.value, dict) and each.value.get("url") == argument)
    elif kind == "type":
        if argument in situation.profiles.definitions.ancestry(node.type):
            yield node
    else:
        literal = node.value.get("reference") if isinstance(node.value, dict) else node.value
        target = situation.resolve(literal) if isinstance(literal, str) else None
        if target is not None:
            yield resource_node(target)


def rules(rule: Rule, steps: Steps, profiles: Profiles) -> list[Rule]:
    """What a profile says of that to which a path leads from a slice: all rules that hold there."""
    found = [rule]
    for kind, argument in steps:
        found = [one for each in found for one in _step_of_rule(each, kind, argument, profiles)]
    return found


def _step_of_rule(rule: Rule, kind: str, argument: str, profiles: Profiles) -> Iterator[Rule]:
    if kind == "resolve":
        yield from (tree for target in rule.targets if (tree := profiles.tree(target)) is not None)
        return
    holders = [rule, *rule.slices.values()]
    holders += [tree for url in rule.profiles if (tree := profiles.tree(url)) is not None]
    if kind == "type":
        yield from (each for each in holders if each is rule or argument in each.codes)
        return
    for holder in holders:
        if kind == "name":
            yield from _parts(holder, argument)
        child = holder.children.get("extension" if kind == "url" else argument)
        if child is None:
            continue
        if kind == "name":
            yield child
        else:
            yield from (each for each in child.slices.values() if argument in _urls(each, profiles))


def _parts(rule: Rule, name: str) -> Iterator[Rule]:
    """What a value that is fixed or outlined as a whole says of one of its elements."""
    for given, fixed in ((rule.fixed, True), (rule.pattern, False)):
        value = given[0].get(name) if given and isinstance(given[0], dict) else None
        for one in value if isinstance(value, list) else () if value is None else (value,):
            yield Rule(
                label=f"{rule.label}.{name}", name=name, fixed=(one,) if fixed else (), pattern=() if fixed else (one,)
            )


def _urls(rule: Rule, profiles: Profiles) -> set[Any]:
    """Which extensions a slice is for."""
    found = {each.fixed[0] for each in rules(rule, (("name", "url"),), profiles) if each.fixed}
    return found | {url.partition("|")[0] for url in rule.profiles}


def belonging(rule: Rule, slicing: Slicing, profiles: Profiles, compile_rule: Compile) -> Belongs | None:
    """The decision whether a value is of a slice, by all discriminators; None where the profile gives none."""
    found: list[Belongs] = []
    for kind, path in slicing.discriminators:
        steps = steps_of(path)
        one = None if steps is None else _one(rule, kind, steps, profiles, compile_rule)
        if one is not None:
            found.append(one)
    if not slicing.discriminators:
        check = compile_rule(rule)
        return None if check is None else lambda node, situation: not fails(check(node, situation))
    if not found:
        return None
    if len(found) == 1:
        return found[0]
    return lambda node, situation: all(each(node, situation) for each in found)


def _one(rule: Rule, kind: str, steps: Steps, profiles: Profiles, compile_rule: Compile) -> Belongs | None:
    if kind == "value" and steps == (("name", "url"),) and (urls := _urls(rule, profiles)):
        return lambda node, _situation: isinstance(node.value, dict) and node.value.get("url") in urls
    there = rules(rule, steps, profiles)
    if kind in ("value", "pattern"):
        return _by_value(there, steps, compile_rule)
    if kind == "exists":
        return _by_presence(there, steps)
    if kind == "type":
        return _by_type(rule, there, steps, profiles)
    return _by_profile(rule, there, steps, profiles) if kind == "profile" else None


def _by_value(there: Sequence[Rule], steps: Steps, compile_rule: Compile) -> Belongs | None:
    there = [one for each in there for one in (each, *each.slices.values())]
    fixed = [each.fixed[0] for each in there if each.fixed]
    patterns = [each.pattern[0] for each in there if each.pattern]
    if fixed or patterns:

        def matches(node: Node, situation: Situation) -> bool:
            found = [each.value for each in values(node, steps, situation)]
            return any(
                any(equals(one, wanted) for wanted in fixed) or any(fits(one, wanted) for wanted in patterns)
                for one in found
            )

        return matches
    checks = [check for each in there if (check := compile_rule(each)) is not None]
    if not checks:
        return None

    def passes(node: Node, situation: Situation) -> bool:
        found = values(node, steps, situation)
        return any(not fails(check(one, situation)) for check in checks for one in found)

    return passes


def _by_presence(there: Sequence[Rule], steps: Steps) -> Belongs | None:
    for each in there:
        if each.max == "0":
            return lambda node, situation: not values(node, steps, situation)
        if each.min:
            return lambda node, situation: bool(values(node, steps, situation))
    return None


def _by_type(rule: Rule, there: Sequence[Rule], steps: Steps, profiles: Profiles) -> Belongs | None:
    if steps and steps[-1][0] == "resolve":
        holders = rules(rule, steps[:-1], profiles)
        codes = {profiles.type_of(target) for each in holders for target in each.targets}
    else:
        codes = {code for each in there for code in each.codes}
    if not codes or None in codes:
        return None
    definitions = profiles.definitions
    return lambda node, situation: any(
        not codes.isdisjoint(definitions.ancestry(each.type)) for each in values(node, steps, situation)
    )


def _by_profile(rule: Rule, there: Sequence[Rule], steps: Steps, profiles: Profiles) -> Belongs | None:
    if steps and steps[-1][0] == "resolve":
        urls = tuple(url for each in rules(rule, steps[:-1], profiles) for url in each.targets)
    else:
        urls = tuple(url for each in there for url in each.profiles)
    if not urls or any(profiles.type_of(url) is None for url in urls):
        return None
    return lambda node, situation: any(
        not fails(meets_one(urls, each, situation)) for each in values(node, steps, situation)
    )
