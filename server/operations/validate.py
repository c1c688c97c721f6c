"""$validate: https://hl7.org/fhir/R4/resource-operation-validate.html"""

from typing import Any

from server.errors import BadRequest, Issue
from server.fhir.outcome import outcome
from server.operations.operation import Operation, OperationRequest
from server.repository import Repository

CANONICAL = "http://hl7.org/fhir/OperationDefinition/Resource-validate"
_MODES = ("create", "update", "delete")


def operation(repository: Repository) -> Operation:
    """The operation over a repository's own validation; profiles and mode=profile are not known yet."""

    def run(request: OperationRequest) -> dict[str, Any]:
        request.access.require("read")
        mode = request.value("mode")
        if mode is not None and mode not in _MODES:
            raise BadRequest(f"mode is one of {', '.join(_MODES)}.", expression="mode")
        if request.value("profile") is not None:
            raise BadRequest("Only the base standard is validated against: leave profile out.", expression="profile")
        if mode == "delete":
            return _all_well("It may be deleted.")
        resource = _resource(repository, request)
        issues = tuple(repository.validate(repository.definitions, resource)) if repository.validate else ()
        return outcome(issues) if issues else _all_well("No issue was found.")

    return Operation(name="$validate", canonical=CANONICAL, levels=frozenset({"type", "instance"}), run=run)


def _resource(repository: Repository, request: OperationRequest) -> dict[str, Any]:
    body = request.resource
    given = request.value("resource") if body and body.get("resourceType") == "Parameters" else body
    if given is None and request.id:
        return repository.read(request.access, request.resource_type, request.id)
    if not isinstance(given, dict) or given.get("resourceType") != request.resource_type:
        raise BadRequest(f"Send the {request.resource_type} to validate, alone or as the parameter 'resource'.")
    return given


def _all_well(text: str) -> dict[str, Any]:
    return outcome([Issue(code="informational", details=text, severity="information")])
