"""$validate: https://hl7.org/fhir/R4/resource-operation-validate.html"""

from collections.abc import Sequence
from typing import Any

from server.errors import BadRequest, Gone, HutongError, Issue, NotFound
from server.fhir.outcome import information, outcome
from server.fhir.profile import Asked, conformance
from server.operations.definition import Call, defined
from server.operations.operation import Operation
from server.repository import Repository, Resource, Transaction

CANONICAL = "http://hl7.org/fhir/OperationDefinition/Resource-validate"
_MODES = ("create", "update", "delete", "profile")


def operation(repository: Repository) -> Operation:
    """The operation over a repository's own validation and the profiles that it stores."""

    def checked(call: Call) -> dict[str, Any]:
        call.access.require("read")
        mode = _mode(call)
        if mode == "delete":
            return _deletable(repository, call)
        resource = _resource(repository, call, mode)
        profiles = [str(profile) for profile in call.all("profile")]
        if mode == "profile" and not profiles:
            raise BadRequest("mode=profile needs the parameter profile: which one?", expression="profile")
        with repository.reading(call.access) as transaction:
            issues = _found(repository, transaction, resource, profiles)
            if mode in ("create", "update"):
                issues += _by_mode(repository, transaction, call, resource, mode)
        if any(issue.severity in ("error", "fatal") for issue in issues):
            return outcome(issues)
        return outcome([*issues, _all_well("No error was found.")])

    return defined(repository, CANONICAL, checked, judged=False)


def _mode(call: Call) -> str:
    mode = str(call.one("mode", ""))
    if mode and mode not in _MODES:
        raise BadRequest(f"mode is one of {', '.join(_MODES)}.", expression="mode")
    if mode in ("delete", "profile") and not call.id:
        raise BadRequest(f"mode={mode} is asked of one resource: call it on [type]/[id].", expression="mode")
    return mode


def _found(
    repository: Repository, transaction: Transaction, resource: Resource, profiles: Sequence[str]
) -> list[Issue]:
    """What is wrong by the standard, else by profiles and extensions."""
    issues = list(repository.validate(repository.definitions, resource)) if repository.validate else []
    if any(issue.severity in ("error", "fatal") for issue in issues):
        details = "What breaks the standard was not held against profiles; correct that first."
        return [*issues, Issue(code="incomplete", details=details, severity="information")]

    def stored(reference: str) -> Resource | None:
        place = transaction.local(reference)
        try:
            return None if place is None else transaction.read(*place)
        except (NotFound, Gone):
            return None

    asked = Asked(profiles=profiles, extensions=True, stored=stored)
    return [*issues, *conformance(resource, transaction.profiles.known(), asked)]


def _by_mode(
    repository: Repository, transaction: Transaction, call: Call, resource: Resource, mode: str
) -> list[Issue]:
    """What the server's own rules say to a create or an update."""
    previous = None
    if mode == "update":
        id = call.id or str(resource.get("id", ""))
        if not id or resource.get("id") != id:
            details = "An update needs the resource's id, the same as in the URL; set it."
            return [Issue(code="invalid", details=details, expression=f"{call.resource_type}.id")]
        try:
            previous = transaction.read(call.resource_type, id)
        except (NotFound, Gone):
            previous = None
    try:
        for check in repository.checks:
            check(transaction, resource, previous)
    except HutongError as error:
        return list(error.issues)
    return []


def _deletable(repository: Repository, call: Call) -> dict[str, Any]:
    repository.read_stored(call.access, call.resource_type, call.id)
    call.access.require("write")
    return information("It may be deleted.")


def _resource(repository: Repository, call: Call, mode: str) -> dict[str, Any]:
    given: dict[str, Any] | None = call.one("resource")
    if mode == "profile" and given is not None:
        raise BadRequest("mode=profile is about the stored resource: leave the resource out.", expression="resource")
    if given is None and call.id:
        return repository.read(call.access, call.resource_type, call.id)
    if given is None or given.get("resourceType") != call.resource_type:
        raise BadRequest(f"Send the {call.resource_type} to validate, alone or as the parameter 'resource'.")
    return given


def _all_well(text: str) -> Issue:
    return Issue(code="informational", details=text, severity="information")
