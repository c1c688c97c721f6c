"""read: https://hl7.org/fhir/R4/http.html#read"""

from collections.abc import Callable
from dataclasses import replace

from server.errors import BadRequest, UnknownParameter
from server.fhir import json_format
from server.fhir.definitions import Definitions
from server.fhir.subset import subset
from server.interactions.request import Answer, Request, has, of_stored
from server.repository import Transaction
from server.store.resources import Stored

_SUMMARIES = ("true", "text", "data", "false")


def read(transaction: Transaction, request: Request) -> Answer:
    """The current version; 304 where the client has it already."""
    return shown(transaction, request, lambda: transaction.read_stored(request.resource_type, request.id))


def shown(transaction: Transaction, request: Request, find: Callable[[], Stored]) -> Answer:
    """A version, or the part of it that is asked for; 304 where the client has it already."""
    known = ("_summary", "_elements", "_format", "_pretty")
    for name, _ in request.parameters if not request.lenient else ():
        if name not in known:
            raise UnknownParameter(f"A read knows {', '.join(known)}, not '{name[:64]}'.", expression=name[:64])
    answer = of_stored(find())
    if _unchanged(request, answer):
        return replace(answer, status=304, body=b"")
    return _asked_part(transaction.definitions, request, answer)


def _unchanged(request: Request, answer: Answer) -> bool:
    if request.if_none_match is not None:
        return has(request.if_none_match, answer.version)
    if request.if_modified_since is None or answer.last_modified is None:
        return False
    return answer.last_modified.replace(microsecond=0) <= request.if_modified_since


def _asked_part(definitions: Definitions, request: Request, answer: Answer) -> Answer:
    asked = {name: value for name, value in request.parameters if name in ("_summary", "_elements")}
    if not asked:
        return answer
    summary = asked.get("_summary", "false")
    if summary not in _SUMMARIES:
        raise BadRequest(f"_summary of a read is one of {', '.join(_SUMMARIES)}.", expression="_summary")
    elements = tuple(part for part in asked.get("_elements", "").split(",") if part)
    part = subset(definitions, json_format.parse(answer.body), summary=summary, elements=elements)
    return replace(answer, body=json_format.write(part))
