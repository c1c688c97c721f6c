"""delete, conditional too: https://hl7.org/fhir/R4/http.html#delete and #cdelete"""

from dataclasses import replace

from server.errors import PreconditionFailed
from server.interactions.request import Answer, Request, preferred
from server.interactions.update import matched_id
from server.repository import Transaction


def delete(transaction: Transaction, request: Request) -> Answer:
    """204, also where there was nothing to delete."""
    return _deleted(transaction, request, request.id)


def conditional_delete(transaction: Transaction, request: Request) -> Answer:
    """DELETE Type?criteria: deletes the one match; 412 where there are several."""
    id = matched_id(transaction, request)
    if id is None and request.if_match is not None:
        raise PreconditionFailed("If-Match asks for a version; nothing matches the criteria.")
    return Answer(status=204) if id is None else _deleted(transaction, request, id)


def _deleted(transaction: Transaction, request: Request, id: str) -> Answer:
    version = transaction.delete(request.resource_type, id, request.if_match)
    answer = Answer(status=204, version="" if version is None else str(version))
    done = f"{request.resource_type}/{id} " + ("was not there." if version is None else "is deleted.")
    shown = preferred(answer, request, None, done)
    return replace(shown, status=200) if shown.body else shown
