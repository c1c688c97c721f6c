"""$validate: https://hl7.org/fhir/R4/resource-operation-validate.html"""

from typing import Any

from server.errors import BadRequest, Issue
from server.fhir.outcome import outcome
from server.operations.definition import Call, defined
from server.operations.operation import Operation
from server.repository import Repository

CANONICAL = "http://hl7.org/fhir/OperationDefinition/Resource-validate"
_MODES = ("create", "update", "delete")


def operation(repository: Repository) -> Operation:
    """The operation over a repository's own validation; profiles and mode=profile are not known yet."""

    def validate(call: Call) -> dict[str, Any]:
        call.access.require("read")
        mode = call.one("mode")
        if mode is not None and mode not in _MODES:
            raise BadRequest(f"mode is one of {', '.join(_MODES)}.", expression="mode")
        if call.one("profile") is not None:
            raise BadRequest("Only the base standard is validated against: leave profile out.", expression="profile")
        if mode == "delete":
            return _all_well("It may be deleted.")
        resource = _resource(repository, call)
        issues = tuple(repository.validate(repository.definitions, resource)) if repository.validate else ()
        return outcome(issues) if issues else _all_well("No issue was found.")

    return defined(repository, CANONICAL, validate, judged=False)


def _resource(repository: Repository, call: Call) -> dict[str, Any]:
    given: dict[str, Any] | None = call.one("resource")
    if given is None and call.id:
        return repository.read(call.access, call.resource_type, call.id)
    if given is None or given.get("resourceType") != call.resource_type:
        raise BadRequest(f"Send the {call.resource_type} to validate, alone or as the parameter 'resource'.")
    return given


def _all_well(text: str) -> dict[str, Any]:
    return outcome([Issue(code="informational", details=text, severity="information")])
