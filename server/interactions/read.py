"""read: https://hl7.org/fhir/R4/http.html#read"""

from dataclasses import replace

from server.errors import BadRequest, UnknownParameter
from server.fhir import json_format
from server.fhir.definitions import Definitions
from server.fhir.subset import subset
from server.interactions.request import Answer, Request, of_stored
from server.repository import Transaction

_SUMMARIES = ("true", "text", "data", "false")


def read(transaction: Transaction, request: Request) -> Answer:
    """The current version; 304 where the client has it already."""
    known = ("_summary", "_elements", "_format", "_pretty")
    for name, _ in request.parameters if not request.lenient else ():
        if name not in known:
            raise UnknownParameter(f"A read knows {', '.join(known)}, not '{name[:64]}'.", expression=name[:64])
    stored = transaction.read_stored(request.resource_type, request.id)
    answer = of_stored(stored)
    if _unchanged(request, answer):
        return replace(answer, status=304, body=b"")
    return _asked_part(transaction.definitions, request, answer)


def _unchanged(request: Request, answer: Answer) -> bool:
    if request.if_none_match is not None:
        return request.if_none_match in ("*", answer.version)
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
