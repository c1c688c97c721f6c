"""delete, conditional too: https://hl7.org/fhir/R4/http.html#delete and #cdelete"""

from server.interactions.request import Answer, Request
from server.interactions.update import matched_id
from server.repository import Transaction


def delete(transaction: Transaction, request: Request) -> Answer:
    """204, also where there was nothing to delete."""
    return _deleted(transaction, request, request.id)


def conditional_delete(transaction: Transaction, request: Request) -> Answer:
    """DELETE Type?criteria: deletes the one match; 412 where there are several."""
    id = matched_id(transaction, request)
    return Answer(status=204) if id is None else _deleted(transaction, request, id)


def _deleted(transaction: Transaction, request: Request, id: str) -> Answer:
    version = transaction.delete(request.resource_type, id)
    return Answer(status=204, version="" if version is None else str(version))
