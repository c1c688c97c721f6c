"""update, conditional too: https://hl7.org/fhir/R4/http.html#update and #cond-update"""

from server.errors import BadRequest, Conflict, PreconditionFailed
from server.fhir import instants
from server.interactions.create import own_resource
from server.interactions.request import Answer, Request, of_written
from server.repository import Transaction
from server.search.url import encoded


def update(transaction: Transaction, request: Request) -> Answer:
    """200, or 201 where there was no current version."""
    resource = own_resource(request)
    if resource.get("id") != request.id:
        raise BadRequest("The body's id must be that of the URL.", expression="id")
    return written_under(transaction, request, resource)


def written_under(transaction: Transaction, request: Request, resource: dict[str, object]) -> Answer:
    """Writes the resource under its own id, on the request's conditions."""
    written = transaction.update(resource, request.if_match)
    if request.if_none_match == "*" and not written.created:
        # Raised within the transaction: nothing of it stays.
        raise PreconditionFailed(f"If-None-Match: * asks that there be none; there is a {request.resource_type} here.")
    return of_written(written, request)


def conditional_update(transaction: Transaction, request: Request) -> Answer:
    """PUT Type?criteria: updates the one match, creates where there is none, 412 where there are several."""
    resource = own_resource(request)
    id = matched_id(transaction, request)
    if id is not None and resource.get("id") not in (None, id):
        raise BadRequest(f"The criteria match {request.resource_type}/{id}, the body has another id.", expression="id")
    chosen = id or resource.get("id") or instants.new_id()
    written = transaction.update({**resource, "id": chosen}, request.if_match)
    if id is None and not written.created:
        raise Conflict(
            f"Nothing matches the criteria, and there is a {request.resource_type} under the body's id; "
            "leave the id out, or update that one by its address.",
            expression="id",
        )
    return of_written(written, request)


def matched_id(transaction: Transaction, request: Request) -> str | None:
    """The id of the one resource that the request's parameters find; None for none, PreconditionFailed for several."""
    found = transaction.matches_locked(request.resource_type, encoded(request.parameters))
    if len(found) > 1:
        raise PreconditionFailed(f"Several {request.resource_type} resources match; make the criteria narrower.")
    return found[0].id if found else None
