"""batch: every entry for itself. https://hl7.org/fhir/R4/http.html#brules"""

from collections.abc import Callable
from typing import Any

from server.errors import HutongError
from server.fhir import json_format
from server.fhir.outcome import outcome, status
from server.interactions.bundle import bundle, response
from server.interactions.entries import listed, read
from server.interactions.request import Answer, Request
from server.interactions.route import chosen, is_reading
from server.repository import Repository
from server.security.access import Access

#: The path of the CapabilityStatement, which the edge makes.
METADATA = ("metadata",)
#: Calls a $operation, or tells the capabilities.
Operate = Callable[[Request, Access], Answer]


def batch(repository: Repository, access: Access, request: Request, operate: Operate | None = None) -> Answer:
    """A batch-response; an entry that fails has an OperationOutcome and leaves the others alone.

    ``operate`` calls the $operations and tells the capabilities.
    """
    found = listed(request.resource or {})
    made = [_entry(repository, access, request, place, one, operate) for place, one in enumerate(found)]
    return Answer(status=200, body=bundle("batch-response", made))


def perform(repository: Repository, access: Access, request: Request) -> Answer:
    """One request in a transaction of its own."""
    interaction = chosen(repository.definitions, request)
    opened = repository.reading(access) if is_reading(request) else repository.transaction(access)
    with opened as transaction:
        answer = interaction(transaction, request)
    # Only now is it committed.
    return answer  # noqa: RET504


def _entry(
    repository: Repository, access: Access, outer: Request, place: int, entry: dict[str, Any], operate: Operate | None
) -> dict[str, Any]:
    try:
        request = read(place, entry, outer).request
        if operate is not None and (request.path == METADATA or "".join(request.path[-1:]).startswith("$")):
            return answered(operate(request, access), is_head=request.is_head)
        return answered(perform(repository, access, request), is_head=request.is_head)
    except HutongError as error:
        return {"response": {**response(Answer(status=status(error))), "outcome": outcome(error.issues)}}


def answered(answer: Answer, *, is_head: bool) -> dict[str, Any]:
    """The entry of a response Bundle that says what one request came to; without the resource for a HEAD."""
    body = json_format.raw(answer.body)
    if not answer.body or is_head:
        return {"response": response(answer)}
    if answer.is_outcome:
        return {"response": {**response(answer), "outcome": body}}
    return {"resource": body, "response": response(answer)}
