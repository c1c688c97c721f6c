"""transaction: all entries or none, links between them rewritten. https://hl7.org/fhir/R4/http.html#trules"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from server.errors import BadRequest, HutongError, Issue, PreconditionFailed
from server.fhir import instants
from server.fhir.references import rewritten
from server.interactions.batch import answered
from server.interactions.bundle import bundle
from server.interactions.create import own_resource
from server.interactions.entries import Entry, entries
from server.interactions.request import Answer, Request, of_stored, of_written, preferred
from server.interactions.route import chosen
from server.interactions.update import matched_id, written_under
from server.repository import Repository, Transaction
from server.search import url
from server.security.access import Access

T = TypeVar("T")
#: The order in which entries are carried out, whatever order they stand in.
ORDER = ("DELETE", "POST", "PUT", "PATCH", "GET")


def transaction(repository: Repository, access: Access, request: Request) -> Answer:
    """A transaction-response, its entries in the order of the request's."""
    wanted = sorted(entries(request.resource or {}, request), key=_order)
    with repository.transaction(access) as opened:
        work = _Work(opened)
        plans = [_at(one, work.planned) for one in wanted]
        work.pending = [plan for plan in plans if plan.request.method in ("POST", "PUT") and plan.done is None]
        _refuse_overlap(plans)
        opened.coming = {
            (plan.request.resource_type, str(plan.id)): plan.request.resource
            for plan in work.pending
            if plan.request.resource
        }
        answers = {plan.entry.place: (plan, _at(plan.entry, partial(work.carried_out, plan))) for plan in plans}
    made = [answered(answer, is_head=plan.request.is_head) for _, (plan, answer) in sorted(answers.items())]
    return Answer(status=200, body=bundle("transaction-response", made))


def _order(entry: Entry) -> tuple[int, tuple[str, ...]]:
    """By verb; within PUT and DELETE by address, so that two transactions never wait for each other in a circle."""
    method = entry.request.method
    return ORDER.index(method), entry.request.path if method in ("PUT", "PATCH", "DELETE") else ()


class _Plan:
    """An entry whose identity is settled before anything is written."""

    def __init__(self, entry: Entry, request: Request, *, id: str | None = None, done: Answer | None = None) -> None:
        self.entry = entry
        self.request = request
        #: The id that a POST or PUT writes, or that a conditional PATCH or DELETE found.
        self.id = id
        #: The answer of a conditional create that found its match.
        self.done = done


class _Work:
    """One transaction under way."""

    def __init__(self, opened: Transaction) -> None:
        self._transaction = opened
        #: fullUrl -> Type/id.
        self._places: dict[str, str] = {}
        #: (type, condition) -> id, for conditions that are stated more than once.
        self._conditions: dict[tuple[str, str], str] = {}
        self._found: dict[str, str] = {}
        #: What POST and PUT are going to write.
        self.pending: list[_Plan] = []

    def planned(self, entry: Entry) -> _Plan:
        """Settles which resource an entry is about, and what its fullUrl stands for."""
        request = entry.request
        chosen(self._transaction.definitions, request)
        plan = _Plan(entry, request)
        if request.method == "POST" and len(request.path) == 1 and request.path != ("_search",):
            plan = self._creation(entry, request)
        elif request.method == "PUT":
            own_resource(request)
            plan = _Plan(entry, request, id=request.id if len(request.path) == 2 else self._conditional(request))
        elif len(request.path) == 1 and request.method in ("PATCH", "DELETE"):
            plan = _Plan(entry, request, id=matched_id(self._transaction, request))
        if plan.id is not None and entry.full_url and request.resource is not None:
            place = f"{request.resource_type}/{plan.id}"
            if self._places.setdefault(entry.full_url, place) != place:
                raise BadRequest(
                    "Two entries have the same fullUrl and are two resources (bdl-7).",
                    expression=f"Bundle.entry[{entry.place}].fullUrl",
                )
        return plan

    def _creation(self, entry: Entry, request: Request) -> _Plan:
        own_resource(request)
        criteria = request.condition
        if criteria is None:
            return _Plan(entry, request, id=instants.new_id())
        condition = (request.resource_type, url.normal(criteria))
        if condition in self._conditions:
            return _Plan(entry, request, id=self._conditions[condition], done=Answer(status=200))
        found = self._transaction.matches_locked(request.resource_type, criteria)
        if len(found) > 1:
            raise PreconditionFailed("Several resources match ifNoneExist; it allows at most one.")
        id = found[0].id if found else instants.new_id()
        self._conditions[condition] = id
        return _Plan(entry, request, id=id, done=of_stored(found[0]) if found else None)

    def _conditional(self, request: Request) -> str:
        own, found = own_resource(request).get("id"), matched_id(self._transaction, request)
        if found is not None and own not in (None, found):
            raise BadRequest(f"The criteria match {request.resource_type}/{found}, the resource has another id.")
        return found or str(own or instants.new_id())

    def carried_out(self, plan: _Plan, _: Entry) -> Answer:
        """Performs one entry."""
        request = plan.request
        if plan.done is not None:
            told = preferred(replace(plan.done, body=b""), request, None, "There was one that matches; none was made.")
            return told if request.prefer_return in ("minimal", "OperationOutcome") else plan.done
        definitions = self._transaction.definitions
        root = plan.entry.full_url.rpartition(f"{request.resource_type}/")[0] if request.path else ""
        if request.resource is not None and request.patch is request.resource:
            # What a FHIRPath Patch brings may refer to other entries as any resource may.
            linked = rewritten(definitions, request.resource, lambda text: self._renamed(text, root))
            request = replace(request, patch=linked)
        if request.method not in ("POST", "PUT") or plan.id is None or request.resource is None:
            return chosen(definitions, request)(self._transaction, request)
        resource = rewritten(definitions, request.resource, lambda text: self._renamed(text, root))
        if request.method == "POST":
            return of_written(self._transaction.create(resource, id=plan.id), request)
        return written_under(self._transaction, request, {**resource, "id": plan.id})

    def _renamed(self, text: str, root: str) -> str | None:
        """What a link stands for after the transaction; None where it stays."""
        for mark in ("#", "|", ""):
            plain, _, rest = text.partition(mark) if mark else (text, "", "")
            place = self._places.get(plain) or self._places.get(root + plain)
            if place is not None:
                return f"{place}{mark}{rest}" if rest else place
        kind, asked, query = text.partition("?")
        if asked and self._transaction.definitions.is_resource(kind):
            return self._by_condition(kind, query)
        return None

    def _by_condition(self, kind: str, query: str) -> str:
        """A conditional reference: the one resource that the query finds."""
        key = f"{kind}?{query}"
        if key not in self._found:
            known = self._conditions.get((kind, url.normal(query)))
            found = [known] if known else self._matching(kind, query)
            if len(found) != 1:
                amount = "Several resources match" if found else "No resource matches"
                raise PreconditionFailed(f"{amount} the conditional reference to {kind}; exactly one must.")
            self._found[key] = f"{kind}/{found[0]}"
        return self._found[key]

    def _matching(self, kind: str, query: str) -> list[str]:
        """What a query will find when all is written: what is there, and what this transaction writes."""
        writes = {plan.id: plan.request.resource for plan in self.pending if plan.request.resource_type == kind}
        stored = [one.id for one in self._transaction.matches_locked(kind, query) if one.id not in writes]
        parameters = url.parameters(query)
        made = [
            str(id) for id, resource in writes.items() if resource and self._transaction.matches(resource, parameters)
        ]
        return stored + made


def _refuse_overlap(plans: Sequence[_Plan]) -> None:
    """The same resource may not be written twice: https://hl7.org/fhir/R4/http.html#trules"""
    written: set[tuple[str, str]] = set()
    for plan in plans:
        request = plan.request
        id = plan.id or (request.id if request.method in ("PATCH", "DELETE") and len(request.path) == 2 else None)
        if id is None or plan.done is not None:
            continue
        if (request.resource_type, id) in written:
            raise BadRequest(
                "A transaction may write a resource once only.", expression=f"Bundle.entry[{plan.entry.place}]"
            )
        written.add((request.resource_type, id))


def _at(entry: Entry, work: Callable[[Entry], T]) -> T:
    """Does the work of one entry; an error says at which entry it came up."""
    try:
        return work(entry)
    except HutongError as error:
        where = f"Bundle.entry[{entry.place}]"
        error.issues = tuple(_placed(issue, where) for issue in error.issues)
        raise


def _placed(issue: Issue, where: str) -> Issue:
    if issue.expression.startswith("Bundle."):
        return issue
    return replace(issue, expression=f"{where}.resource.{issue.expression}" if issue.expression else where)
