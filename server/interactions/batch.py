"""batch: every entry for itself. https://hl7.org/fhir/R4/http.html#brules"""

from typing import Any

from server.errors import HutongError
from server.fhir import json_format
from server.fhir.outcome import outcome, status
from server.interactions.bundle import bundle, response
from server.interactions.entries import entries
from server.interactions.request import Answer, Request
from server.interactions.route import chosen, is_reading
from server.repository import Repository
from server.security.access import Access


def batch(repository: Repository, access: Access, request: Request) -> Answer:
    """A batch-response; an entry that fails has an OperationOutcome and leaves the others alone."""
    made = [_entry(repository, access, one.request) for one in entries(request.resource or {}, request)]
    return Answer(status=200, body=bundle("batch-response", made))


def perform(repository: Repository, access: Access, request: Request) -> Answer:
    """One request in a transaction of its own."""
    interaction = chosen(repository.definitions, request)
    opened = repository.reading(access) if is_reading(request) else repository.transaction(access)
    with opened as transaction:
        answer = interaction(transaction, request)
    # Only now is it committed.
    return answer  # noqa: RET504


def _entry(repository: Repository, access: Access, request: Request) -> dict[str, Any]:
    try:
        return answered(perform(repository, access, request))
    except HutongError as error:
        return {"response": {**response(Answer(status=status(error))), "outcome": outcome(error.issues)}}


def answered(answer: Answer) -> dict[str, Any]:
    """The entry of a response Bundle that says what one request came to."""
    found: dict[str, Any] = {"resource": json_format.raw(answer.body)} if answer.body else {}
    return {**found, "response": response(answer)}
