"""patch, conditional too, by JSON Patch, JSON Merge Patch or FHIRPath Patch: https://hl7.org/fhir/R4/http.html#patch"""

from typing import Any

from server.errors import BadRequest, NotFound, Unprocessable
from server.fhir import fhirpath_patch, json_patch, merge_patch
from server.fhir.merge_patch import MergePatch
from server.interactions.request import Answer, Request, of_written
from server.interactions.update import matched_id
from server.repository import Transaction


def patch(transaction: Transaction, request: Request) -> Answer:
    """200 with the patched resource; NotFound or Gone where there is none to patch."""
    return _patch(transaction, request, request.id)


def conditional_patch(transaction: Transaction, request: Request) -> Answer:
    """PATCH Type?criteria: patches the one match; 404 where there is none, 412 where there are several."""
    id = matched_id(transaction, request)
    if id is None:
        raise NotFound(f"No {request.resource_type} matches the criteria.")
    return _patch(transaction, request, id)


def _patch(transaction: Transaction, request: Request, id: str) -> Answer:
    if request.patch is None:
        raise BadRequest("Send a JSON Patch (RFC 6902), a Merge Patch (RFC 7396), or a FHIRPath Patch as Parameters.")
    before = transaction.read(request.resource_type, id, lock=True)
    try:
        after = _patched(transaction, before, request.patch)
    except RecursionError as error:
        raise Unprocessable("The patch nests too deeply; flatten it.") from error
    if not isinstance(after, dict) or (after.get("resourceType"), after.get("id")) != (request.resource_type, id):
        raise Unprocessable("A patch may change neither resourceType nor id.")
    return of_written(transaction.update(after, request.if_match), request)


def _patched(transaction: Transaction, resource: dict[str, Any], patch: Any) -> Any:
    if isinstance(patch, MergePatch):
        return merge_patch.patched(resource, patch)
    if isinstance(patch, dict) and patch.get("resourceType") == "Parameters":
        return fhirpath_patch.patched(transaction.definitions, resource, patch)
    return json_patch.patched(resource, patch)
