"""Calls of $operations over HTTP: https://hl7.org/fhir/R4/operations.html#executing"""

from collections.abc import Iterable, Sequence

from server.errors import BadRequest, NotFound
from server.fhir import json_format
from server.fhir.outcome import information
from server.interactions.request import Answer, Request
from server.operations.operation import Accepted, Operation, OperationRequest
from server.security.access import Access

_LEVELS = ("system", "type", "instance")


def answer(operations: Sequence[Operation], request: Request, access: Access) -> Answer:
    """Runs the operation that the URL names; NotFound where it is not served there."""
    *place, name = request.path
    level = _LEVELS[len(place)] if len(place) < len(_LEVELS) else ""
    resource_type = place[0] if place else ""
    found = next((one for one in operations if one.serves(name, resource_type, level)), None)
    if found is None:
        raise NotFound(f"There is no operation {name[:64]} here; the CapabilityStatement lists those that are.")
    if request.method != "POST" and not (found.safe and request.method == "GET"):
        raise BadRequest(f"Call {name} by POST.")
    call = OperationRequest(
        access=access,
        resource_type=resource_type,
        id=place[1] if len(place) > 1 else "",
        parameters=tuple((key, value) for key, value in request.parameters if key not in ("_format", "_pretty")),
        resource=request.resource,
        base_url=request.base_url,
        respond_async=request.respond_async,
        lenient=request.lenient,
    )
    made = found.run(call)
    if isinstance(made, Accepted):
        return Answer(status=202, body=json_format.write(information(made.details)), content_location=made.location)
    return Answer(status=200, body=json_format.write(made))


def listed(operations: Iterable[Operation], resource_types: Iterable[str]) -> dict[str, tuple[tuple[str, str], ...]]:
    """What the CapabilityStatement says: resource type, or "" for the system -> (name, canonical)."""
    found: dict[str, list[tuple[str, str]]] = {}
    types = tuple(resource_types)
    for one in operations:
        places = ["" for level in one.levels if level == "system"]
        if one.levels & {"type", "instance"}:
            places += [one.resource_type] if one.resource_type else types
        for place in places:
            found.setdefault(place, []).append((one.name.removeprefix("$"), one.canonical))
    return {place: tuple(names) for place, names in found.items()}
