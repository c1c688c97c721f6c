"""A resource held against profiles: https://hl7.org/fhir/R4/profiling.html#use, resource.html#Meta (profile)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from server.errors import Issue
from server.fhir.definitions import Definitions
from server.fhir.fhirpath.node import resource_node
from server.fhir.profile.extensions import checked
from server.fhir.profile.instance import Resolve, Situation
from server.fhir.profile.known import KnownProfiles
from server.fhir.profile.target import meets
from server.fhir.validate.problem import Problem, below, wrong


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a resource is held against."""

    #: Profiles besides those that the resource and what is in it declare.
    profiles: Sequence[str] = ()
    #: Whether every extension is held against its own definition, its context too.
    extensions: bool = False
    #: Finds what a reference leads to among the stored resources; None to leave that alone.
    stored: Resolve | None = None
    #: Whether it is held against profiles too; without it only the resolve() of invariants leads to what is stored.
    follow: bool = True


def conformance(resource: dict[str, Any], known: KnownProfiles, asked: Asked) -> tuple[Issue, ...]:
    """What keeps a resource, sound by the base standard, from meeting its profiles.

    Profiles are those that are asked for and those in meta.profile, of contained resources and of a Bundle's entries
    too. A profile that is asked for and not known is an error, a declared one an information.
    """
    kind = str(resource.get("resourceType", ""))
    whole = Situation(known, resource, stored=asked.stored, follow=asked.follow)
    problems: list[Problem] = []
    try:
        for canonical in asked.profiles:
            problems += _against(canonical, whole, known, "error")
        for situation, steps in _inside(whole, known):
            problems += _outwards(steps, _one(situation, known, asked))
    except RecursionError:
        return (Issue(code="too-costly", details="nested too deeply; flatten it", expression=kind),)
    issues = [problem.issue(kind) for problem in problems]
    return tuple(dict.fromkeys(issues))


def declares(resource: Mapping[str, Any], definitions: Definitions) -> bool:
    """Whether a resource, or one within it, may declare a profile; quick, as every write asks."""
    if declared(resource):
        return True
    if "contained" in resource:
        return any(declared(each) for each in resource["contained"])
    return "DomainResource" not in definitions.ancestry(str(resource.get("resourceType", "")))


def declared(resource: Mapping[str, Any]) -> tuple[str, ...]:
    """The profiles that a resource says it meets."""
    meta = resource.get("meta")
    profiles = meta.get("profile") if isinstance(meta, dict) else None
    return tuple(each for each in profiles if isinstance(each, str)) if isinstance(profiles, list) else ()


def _one(situation: Situation, known: KnownProfiles, asked: Asked) -> list[Problem]:
    """One resource against the profiles that it declares."""
    problems: list[Problem] = []
    for canonical in declared(situation.resource):
        problems += _against(canonical, situation, known, "information")
    return [*problems, *checked(situation)] if asked.extensions else problems


def _against(canonical: str, situation: Situation, known: KnownProfiles, unknown: str) -> list[Problem]:
    node = resource_node(situation.resource)
    kind = known.type_of(canonical)
    if kind is None:
        details = f"the profile {canonical} is not known here, so the resource was not held against it; load it first"
        return [Problem(code="not-found", details=details, severity=unknown)]
    if kind not in known.definitions.ancestry(node.type):
        return wrong("structure", f"the profile {canonical} is for {kind}, not for {node.type}")
    problems = meets(canonical, node, situation) or []
    fault = known.fault(canonical)
    if fault is not None:
        problems = [Problem(code="not-supported", details=f"{canonical}: {fault}", severity=unknown)]
    return problems


def _inside(whole: Situation, known: KnownProfiles) -> Iterator[tuple[Situation, tuple[str, ...]]]:
    """The resource and those within it, each with its steps from the innermost outwards."""
    yield whole, ()
    kind = str(whole.resource.get("resourceType", ""))
    if "DomainResource" in known.definitions.ancestry(kind):
        contained = whole.resource.get("contained")
        for index, each in enumerate(contained if isinstance(contained, list) else ()):
            yield whole.inside(each, contained=True), (f"[{index}]", "contained")
        return
    for each, steps in _resources(whole.resource, ()):
        situation = whole.inside(each, contained=False)
        for inner, further in _inside(situation, known):
            yield inner, (*further, *steps)


def _resources(value: Any, steps: tuple[str, ...]) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    """The outermost resources within a Bundle, Parameters or the like."""
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from _resources(each, (f"[{index}]", *steps))
    elif isinstance(value, dict):
        for name, each in value.items():
            if isinstance(each, dict) and "resourceType" in each:
                yield each, (name, *steps)
            elif isinstance(each, dict | list):
                yield from _resources(each, (name, *steps))


def _outwards(steps: tuple[str, ...], problems: list[Problem]) -> list[Problem]:
    for step in steps:
        below(step, problems)
    return problems
