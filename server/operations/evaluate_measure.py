"""Measure/$evaluate-measure: https://hl7.org/fhir/R4/measure-operation-evaluate-measure.html"""

from typing import Any

from server.errors import BadRequest, NotFound, Unprocessable
from server.fhir import instants
from server.operations.definition import Call, defined
from server.operations.operation import Operation
from server.repository import Repository, Transaction
from server.workflow import pathway
from server.workflow.measure import Asked, evaluate, report
from server.workflow.pathway import RepositorySources

Resource = dict[str, Any]

_CANONICAL = "http://hl7.org/fhir/OperationDefinition/Measure-evaluate-measure"
#: reportType -> MeasureReport.type.
_KINDS = {"subject": "individual", "subject-list": "subject-list", "population": "summary"}


def operation(repository: Repository) -> Operation:
    """The operation; what it reports is not stored."""

    def evaluate_measure(call: Call) -> Resource:
        for name in ("practitioner", "lastReceivedOn"):
            if call.one(name) is not None:
                raise BadRequest(f"{name} is not evaluated here; leave it out.", expression=name)
        with repository.reading(call.access) as transaction:
            return _report(transaction, call)

    return defined(repository, _CANONICAL, evaluate_measure)


def _report(transaction: Transaction, call: Call) -> Resource:
    measure = _measure(transaction, call)
    subject = str(call.one("subject", ""))
    kind = call.one("reportType", "subject" if subject else "population")
    if kind not in _KINDS:
        raise BadRequest(f"reportType is one of {', '.join(_KINDS)}.", expression="reportType")
    if (kind == "subject") != bool(subject):
        raise BadRequest("A subject is named for the reportType subject, and only for it.", expression="subject")
    start, end = str(call.one("periodStart")), str(call.one("periodEnd"))
    asked = Asked(
        start=start,
        end=end,
        recorded=instants.text(transaction.moment),
        subject=_reference(transaction, call, subject) if subject else "",
    )
    if not len(start) == len(end) == len("2026-01-31") or start > end:
        raise BadRequest("The period is from one day to another or the same, as 2026-01-31.", expression="periodStart")
    sources = RepositorySources(transaction=transaction)
    return report(measure, evaluate(measure, asked, sources, sources.each), asked, kind=_KINDS[kind])


def _measure(transaction: Transaction, call: Call) -> Resource:
    """The measure of the instance, or by its id or canonical: what is stored comes before the bundled pathways."""
    if call.id:
        return transaction.read("Measure", call.id)
    named = str(call.one("measure", ""))
    if not named:
        raise BadRequest("Say which Measure is meant: its canonical or id.", expression="measure")
    if "/" not in named.removeprefix("Measure/") and ":" not in named:
        return transaction.read("Measure", named.removeprefix("Measure/"))
    stored = transaction.canonical("Measure", named)
    bundled = (one.measure(named) for one in pathway.load())
    found = stored or next((one for one in bundled if one is not None), None)
    if found is None:
        raise NotFound(f"There is no Measure {named[:200]} here.")
    return found


def _reference(transaction: Transaction, call: Call, subject: str) -> str:
    kind, _, id = subject.removeprefix(f"{call.base_url}/").partition("/")
    if not transaction.definitions.is_resource(kind) or not id:
        raise Unprocessable("The subject is Type/id of a resource of this server.", expression="subject")
    transaction.read(kind, id)
    return f"{kind}/{id}"
