"""Observation/$lastn: the latest of each kind. https://hl7.org/fhir/R4/observation-operation-lastn.html"""

from collections.abc import Iterator
from typing import Any

from server.errors import BadRequest, TooLarge
from server.fhir import instants, json_format
from server.operations.definition import Call, defined
from server.operations.operation import Operation
from server.repository import Repository, Transaction

_CANONICAL = "http://hl7.org/fhir/OperationDefinition/Observation-lastn"
#: Observations that are looked at for one answer.
MOST = 50_000
_PAGE = "1000"
_RESULT_PARAMETERS = ("_sort", "_count", "_page", "_summary", "_elements", "_include", "_revinclude", "_total")


def operation(repository: Repository) -> Operation:
    """The operation; besides ``max`` it takes the search parameters of the type."""

    def lastn(call: Call) -> dict[str, Any]:
        names = {name.partition(":")[0].partition(".")[0] for name, _ in call.others}
        if not names & {"patient", "subject"} or not names & {"code", "category"}:
            raise BadRequest("$lastn needs whose (patient or subject) and of what (code or category).")
        with repository.reading(call.access) as transaction:
            return _bundle(call, list(_latest(transaction, call)))

    return defined(repository, _CANONICAL, lastn, others=_searches)


def _searches(name: str) -> bool:
    return name.partition(":")[0] not in (*_RESULT_PARAMETERS, "max")


def _latest(transaction: Transaction, call: Call) -> Iterator[dict[str, Any]]:
    """Newest first; of each group the first ``max``, and all that are as new as the last of them."""
    most = call.one("max", 1)
    groups: dict[Any, list[int]] = {}
    # Group number -> (how many, date of the last one).
    kept: list[tuple[int, Any]] = []
    for resource in _newest_first(transaction, call):
        keys = list(_keys(resource))
        group = next((groups[key] for key in keys if key in groups), None)
        if group is None:
            group = [len(kept)]
            kept.append((0, None))
        for key in keys:
            groups.setdefault(key, group)
        count, last = kept[group[0]]
        when = _when(resource)
        if count < most or (when is not None and when == last):
            kept[group[0]] = (count + 1, when)
            yield resource


def _newest_first(transaction: Transaction, call: Call) -> Iterator[dict[str, Any]]:
    parameters, cursor, seen = [*call.others, ("_sort", "-date"), ("_count", _PAGE)], "", 0
    while True:
        result = transaction.search(call.resource_type, [*parameters, *([("_page", cursor)] if cursor else [])])
        seen += len(result.matches)
        if seen > MOST:
            raise TooLarge(f"$lastn looks at {MOST} resources at most; make it narrower.")
        yield from (json_format.parse(found.body) for found in result.matches)
        cursor = result.next
        if not cursor:
            return


def _keys(resource: dict[str, Any]) -> Iterator[Any]:
    """What an Observation is grouped by: every coding of its code, or else the text."""
    code = resource.get("code") or {}
    codings = [(coding.get("system"), coding["code"]) for coding in code.get("coding", ()) if "code" in coding]
    yield from codings or [("", code.get("text"))]


def _when(resource: dict[str, Any]) -> Any:
    return resource.get("effectiveDateTime") or resource.get("effectiveInstant") or resource.get("effectivePeriod")


def _bundle(call: Call, found: list[dict[str, Any]]) -> dict[str, Any]:
    entries = [
        {"fullUrl": f"{call.base_url}/{call.resource_type}/{one['id']}", "resource": one, "search": {"mode": "match"}}
        for one in found
    ]
    whole = {"resourceType": "Bundle", "id": instants.new_id(), "type": "searchset", "total": len(found)}
    return {**whole, "entry": entries} if entries else whole
