"""create, conditional too: https://hl7.org/fhir/R4/http.html#create and #ccreate"""

from server.errors import BadRequest
from server.interactions.request import Answer, Request, of_written
from server.repository import Transaction


def create(transaction: Transaction, request: Request) -> Answer:
    """201 with the new resource; 200 with the one that matches If-None-Exist already."""
    resource = own_resource(request)
    return of_written(transaction.create(resource, request.condition), request)


def own_resource(request: Request) -> dict[str, object]:
    """The request's body; BadRequest unless it is of the type that the URL names."""
    resource = request.resource
    if resource is None:
        raise BadRequest(f"The body must be a {request.resource_type} resource.")
    if resource.get("resourceType") != request.resource_type:
        raise BadRequest(
            f"The body is of type {resource.get('resourceType')!s:.64}, the URL names {request.resource_type}.",
            expression="resourceType",
        )
    return resource
