"""PlanDefinition/$apply and ActivityDefinition/$apply by request.

https://hl7.org/fhir/R4/plandefinition-operation-apply.html, https://hl7.org/fhir/R4/activitydefinition-operation-apply.html
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from server.errors import BadRequest, NotFound, Unprocessable
from server.fhir import instants
from server.operations.definition import Call, defined
from server.operations.operation import Operation
from server.repository import Repository, Transaction
from server.search.reference import ID
from server.workflow import pathway
from server.workflow.activity import make
from server.workflow.pathway import RepositorySources
from server.workflow.plan import Pathway, realise
from server.workflow.request_group import care_plan
from server.workflow.scope import SITUATION, Application, Scope

Resource = dict[str, Any]

_PLAN = "http://hl7.org/fhir/OperationDefinition/PlanDefinition-apply"
_ACTIVITY = "http://hl7.org/fhir/OperationDefinition/ActivityDefinition-apply"
#: Whom a CarePlan can be for.
_CARED_FOR = ("Patient", "Group")


def operations(repository: Repository) -> tuple[Operation, ...]:
    """On PlanDefinition and on ActivityDefinition."""

    def plan(call: Call) -> Resource:
        with repository.reading(call.access) as transaction:
            return _checked(repository, _plan(transaction, call))

    def activity(call: Call) -> Resource:
        with repository.reading(call.access) as transaction:
            return _checked(repository, _activity(transaction, call))

    canonical = "canonical".__eq__
    return (
        defined(repository, _PLAN, plan, others=canonical),
        defined(repository, _ACTIVITY, activity, others=canonical),
    )


@dataclass(frozen=True, kw_only=True)
class _Known:
    """The definitions at hand: what is stored, of several the one changed last, then the bundled pathways."""

    transaction: Transaction

    def plan(self, canonical: str) -> Resource | None:
        """A PlanDefinition by its canonical."""
        return self._find("PlanDefinition", canonical, lambda one: one.plan(canonical))

    def activity(self, canonical: str) -> Resource | None:
        """An ActivityDefinition by its canonical."""
        return self._find("ActivityDefinition", canonical, lambda one: one.activity(canonical))

    def _find(self, kind: str, canonical: str, bundled: Callable[[Pathway], Resource | None]) -> Resource | None:
        stored = self.transaction.canonical(kind, canonical)
        return stored or next(filter(None, map(bundled, pathway.load())), None)


def _plan(transaction: Transaction, call: Call) -> Resource:
    known = _Known(transaction=transaction)
    plan = _definition(transaction, call, given="planDefinition", find=known.plan)
    application, variables = _application(transaction, call, known, plan)
    if application.subject is None:
        raise Unprocessable(
            f"A CarePlan is for a {' or '.join(_CARED_FOR)}, and the subject names none.", expression="subject"
        )
    applied = realise(plan, plan.get("action", ()), application, variables)
    return care_plan(plan, applied, application)


def _activity(transaction: Transaction, call: Call) -> Resource:
    known = _Known(transaction=transaction)
    activity = _definition(transaction, call, given="activityDefinition", find=known.activity)
    application, variables = _application(transaction, call, known, activity)
    made = make(activity, {}, Scope(application=application, plan=activity, variables=variables))
    # It is a proposal to the caller, who may store it.
    return {name: value for name, value in made.items() if name not in ("id", "meta")}


def _definition(
    transaction: Transaction, call: Call, *, given: str, find: Callable[[str], Resource | None]
) -> Resource:
    """The definition that is meant: of the instance, sent along, or by its canonical."""
    if call.id:
        return transaction.read(call.resource_type, call.id)
    if (sent := call.one(given)) is not None:
        found: Resource = sent
        return found
    canonical = dict(call.others).get("canonical", "")
    if not canonical:
        raise BadRequest(f"Say which {call.resource_type} is meant: canonical or {given}.", expression=given)
    by_url = find(canonical)
    if by_url is None:
        raise NotFound(f"There is no {call.resource_type} {canonical[:200]} here.")
    return by_url


def _application(
    transaction: Transaction, call: Call, known: _Known, definition: Resource
) -> tuple[Application, dict[str, Any]]:
    """What the definition is applied to, and what its expressions see besides."""
    if len(call.all("subject")) > 1:
        raise BadRequest("One subject for each call.", expression="subject")
    named = {name: _named(transaction, call, name) for name in ("subject", "encounter", "practitioner", "organization")}
    focus = named["subject"]
    if focus is None:
        raise BadRequest("subject names a resource of this server.", expression="subject")
    _check_subject(definition, focus["resourceType"])
    recorded = instants.text(transaction.moment)
    application = Application(
        artifacts=known,
        sources=RepositorySources(transaction=transaction),
        focus=focus,
        recorded=recorded,
        subject=_cared_for(focus),
        encounter=_reference(named["encounter"]),
        practitioner=_reference(named["practitioner"]),
        contained=True,
    )
    # What was not said is empty, not unknown.
    seen = {name: [one] if (one := call.one(name)) is not None else [] for name in SITUATION}
    about = {name: [] if one is None else [one] for name, one in named.items()}
    return application, {"event": {"topic": "", "recorded": recorded}, **seen, **about}


def _named(transaction: Transaction, call: Call, name: str) -> Resource | None:
    """The resource that a parameter refers to."""
    text = call.one(name)
    if text is None:
        return None
    kind, _, id = text.removeprefix(f"{call.base_url}/").partition("/")
    if not transaction.definitions.is_resource(kind) or not ID.fullmatch(id):
        raise BadRequest(f"{name} is Type/id of a resource of this server.", expression=name)
    return transaction.read(kind, id)


def _check_subject(definition: Resource, kind: str) -> None:
    """BadRequest for a subject of another type than the definition's: its coding, or Patient where it states none."""
    stated = definition.get("subjectCodeableConcept", {}).get("coding", ())
    wanted = {coding.get("code") for coding in stated} or {"Patient"}
    if "subjectReference" in definition:
        wanted = {"Group", "Patient"}
    if kind not in wanted:
        raise BadRequest(
            f"The definition is for {' or '.join(sorted(map(str, wanted)))}, not for {kind}.", expression="subject"
        )


def _cared_for(focus: Resource) -> Resource | None:
    """The reference to the Patient or Group that a resource is, or is about."""
    if focus["resourceType"] in _CARED_FOR:
        return _reference(focus)
    for name in ("subject", "patient", "for"):
        reference = focus.get(name, {}).get("reference", "") if isinstance(focus.get(name), dict) else ""
        if reference.partition("/")[0] in _CARED_FOR:
            return {"reference": reference}
    return None


def _reference(resource: Resource | None) -> Resource | None:
    return None if resource is None else {"reference": f"{resource['resourceType']}/{resource['id']}"}


def _checked(repository: Repository, made: Resource) -> Resource:
    """What came out; Unprocessable where the definition makes what breaks the standard's rules."""
    issues = tuple(repository.validate(repository.definitions, made)) if repository.validate is not None else ()
    if any(issue.severity in ("error", "fatal") for issue in issues):
        raise Unprocessable("What the definition makes breaks rules of FHIR R4.", issues=issues)
    return made
