"""vread: https://hl7.org/fhir/R4/http.html#vread"""

from server.interactions.read import shown
from server.interactions.request import Answer, Request
from server.repository import Transaction


def vread(transaction: Transaction, request: Request) -> Answer:
    """One version: Type/id/_history/version; 304 where the client has it already."""
    return shown(transaction, request, lambda: transaction.vread(request.resource_type, request.id, request.path[3]))
