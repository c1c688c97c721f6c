"""vread: https://hl7.org/fhir/R4/http.html#vread"""

from server.interactions.request import Answer, Request, of_stored
from server.repository import Transaction


def vread(transaction: Transaction, request: Request) -> Answer:
    """One version: Type/id/_history/version."""
    return of_stored(transaction.vread(request.resource_type, request.id, request.path[3]))
