"""Measure/$evaluate-measure, purely: https://hl7.org/fhir/R4/measure-operation-evaluate-measure.html.

The criteria of a group's ``initial-population`` are a FHIR query, which gives its members; those of every other
population are FHIRPath on a member, as in ``plan``. Expressions see ``%periodStart``, ``%periodEnd`` and ``%today``
(dates as text), and the measure's variables, anew for each member. A member stands in a population as
https://hl7.org/fhir/R4/clinicalreasoning-quality-reporting.html says: in the numerator only out of the denominator, and
in neither when it is excluded.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from server.errors import TooLarge, Unprocessable
from server.workflow.plan import Pathway
from server.workflow.scope import QUERY, Application, Scope, Sources

Resource = dict[str, Any]
#: Gives every resource that a FHIR query finds, one after the other.
Each = Callable[[str], Iterable[Resource]]

INITIAL, DENOMINATOR, NUMERATOR = "initial-population", "denominator", "numerator"
_EXCLUSION, _EXCEPTION, _OUT = "denominator-exclusion", "denominator-exception", "numerator-exclusion"
#: What is evaluated, in the order in which one depends on those before.
_POPULATIONS = (INITIAL, DENOMINATOR, _EXCLUSION, NUMERATOR, _OUT, _EXCEPTION)
_SCORINGS = ("proportion", "cohort")
#: Members of one group.
MOST = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a measure is evaluated for."""

    #: FHIR dates; both days belong to it.
    start: str
    end: str
    #: FHIR instant; the only clock that expressions have.
    recorded: str
    #: ``Type/id`` of the one subject that is asked for; empty for all.
    subject: str = ""


@dataclass(kw_only=True)
class Group:
    """One group of a measure, evaluated."""

    definition: Resource
    #: Population -> references of its members, in the order found.
    members: dict[str, list[str]] = field(default_factory=dict)

    def count(self, code: str) -> int:
        """How many are in a population."""
        return len(self.members.get(code, ()))


def evaluate(measure: Resource, asked: Asked, sources: Sources, each: Each) -> tuple[Group, ...]:
    """The populations of each group of a measure; Unprocessable for what is not evaluated here."""
    _check(measure)
    return tuple(_group(measure, one, asked, sources, each) for one in measure.get("group", ()))


def _check(measure: Resource) -> None:
    scoring = {coding.get("code") for coding in measure.get("scoring", {}).get("coding", ())}
    if scoring and not scoring & set(_SCORINGS):
        raise Unprocessable(f"Measures are scored as {', '.join(_SCORINGS)} here.", expression="Measure.scoring")
    for group in measure.get("group", ()):
        if "stratifier" in group:
            raise Unprocessable("Strata are not evaluated here.", expression="Measure.group.stratifier")
        for code, _ in _populations(group):
            if code not in _POPULATIONS:
                raise Unprocessable(
                    f"A population {code} is not evaluated here.", expression="Measure.group.population"
                )


def _populations(group: Resource) -> Iterator[tuple[str, Resource]]:
    for one in group.get("population", ()):
        codes = [coding.get("code", "") for coding in one.get("code", {}).get("coding", ())]
        yield next(iter(codes), ""), one.get("criteria", {})


def _group(measure: Resource, group: Resource, asked: Asked, sources: Sources, each: Each) -> Group:
    criteria = dict(_populations(group))
    query = criteria.get(INITIAL, {})
    if query.get("language") != QUERY:
        raise Unprocessable(
            f"The initial population is a FHIR query ({QUERY}) here.", expression="Measure.group.population.criteria"
        )
    found = Group(definition=group, members={code: [] for code in _POPULATIONS if code in criteria})
    for number, member in enumerate(each(_scope(measure, measure, asked, sources).filled(query.get("expression", "")))):
        if number >= MOST:
            raise TooLarge(f"A measure looks at {MOST} resources at most; make the period shorter.")
        if asked.subject and asked.subject not in _about(member):
            continue
        for code in _belongs(_scope(measure, member, asked, sources).within(measure), criteria):
            found.members[code].append(f"{member['resourceType']}/{member['id']}")
    return found


def _scope(measure: Resource, focus: Resource, asked: Asked, sources: Sources) -> Scope:
    # A measure refers to no plan or activity.
    nothing = Pathway(plans={}, activities={})
    application = Application(artifacts=nothing, sources=sources, focus=focus, recorded=asked.recorded)
    period = {"periodStart": asked.start, "periodEnd": asked.end, "today": asked.recorded[:10]}
    return Scope(application=application, plan=measure, variables=period)


def _belongs(scope: Scope, criteria: Mapping[str, Resource]) -> Iterator[str]:
    """The populations that a member of the initial one is in."""
    held = {INITIAL}
    for code in _POPULATIONS[1:]:
        if code in criteria and _possible(code, held, criteria) and scope.holds(criteria[code]):
            held.add(code)
    if _OUT in held:
        held.discard(NUMERATOR)
    yield from (code for code in _POPULATIONS if code in held)


def _possible(code: str, held: set[str], criteria: Mapping[str, Resource]) -> bool:
    """Whether a member may be in a population, with what it is in already."""
    if code in (_EXCLUSION, NUMERATOR) and DENOMINATOR in criteria:
        return DENOMINATOR in held and _EXCLUSION not in held
    if code == _OUT:
        return NUMERATOR in held
    if code == _EXCEPTION:
        return DENOMINATOR in held and _EXCLUSION not in held and NUMERATOR not in held
    return True


def _about(member: Resource) -> set[str]:
    """Whom a member is, or is about."""
    named = (member.get(name) for name in ("subject", "patient", "for", "beneficiary"))
    references = {one["reference"] for one in named if isinstance(one, dict) and "reference" in one}
    return {f"{member['resourceType']}/{member['id']}", *references}


def report(measure: Resource, groups: Iterable[Group], asked: Asked, *, kind: str) -> Resource:
    """The MeasureReport of a type: individual, subject-list or summary. https://hl7.org/fhir/R4/measurereport.html"""
    lists: list[Resource] = []
    made: Resource = {
        "resourceType": "MeasureReport",
        "status": "complete",
        "type": kind,
        "measure": "|".join(filter(None, (measure.get("url", ""), measure.get("version", "")))),
        "date": asked.recorded,
        "period": {"start": asked.start, "end": asked.end},
    }
    if kind == "individual":
        made["subject"] = {"reference": asked.subject}
    if "improvementNotation" in measure:
        made["improvementNotation"] = measure["improvementNotation"]
    made["group"] = [_reported(group, number, kind, lists) for number, group in enumerate(groups, 1)]
    return {**made, "contained": lists} if lists else made


def _reported(group: Group, number: int, kind: str, lists: list[Resource]) -> Resource:
    told: Resource = {"code": group.definition["code"]} if "code" in group.definition else {}
    told["population"] = []
    for one, (code, _) in zip(group.definition["population"], _populations(group.definition), strict=True):
        population = {"code": one["code"], "count": group.count(code)}
        if kind == "subject-list":
            lists.append(_list(f"{code}-{number}", group.members[code]))
            population["subjectResults"] = {"reference": f"#{code}-{number}"}
        told["population"].append(population)
    whole = group.count(DENOMINATOR) - group.count(_EXCLUSION) - group.count(_EXCEPTION)
    if whole > 0:
        told["measureScore"] = {"value": round(Decimal(group.count(NUMERATOR)) / whole, 4)}
    return told


def _list(id: str, members: Iterable[str]) -> Resource:
    found: Resource = {"resourceType": "List", "id": id, "status": "current", "mode": "snapshot"}
    entries = [{"item": {"reference": reference}} for reference in members]
    return {**found, "entry": entries} if entries else found
