"""$diff: what makes one version or resource of another, as a FHIRPath Patch. Not of the standard; HAPI has its like."""

from typing import Any

from server.errors import BadRequest, NotFound
from server.fhir import json_format
from server.fhir.fhirpath_diff import difference
from server.operations.definition import Call, defined
from server.operations.operation import Operation
from server.repository import Repository, Transaction
from server.search.reference import LITERAL

_CANONICAL = "https://hutong.example/fhir/OperationDefinition/diff"
#: What changes with every version.
_STAMP = ("versionId", "lastUpdated")


def operation(repository: Repository) -> Operation:
    """On the system between two references, on an instance from a version to the current one."""

    def diff(call: Call) -> dict[str, Any]:
        with repository.reading(call.access) as transaction:
            before, after = _versions(transaction, call) if call.id else _pair(transaction, call)
        if not call.one("includeMeta", default=False):
            before, after = _unstamped(before), _unstamped(after)
        return difference(repository.definitions, before, after)

    return defined(repository, _CANONICAL, diff)


def _versions(transaction: Transaction, call: Call) -> tuple[dict[str, Any], dict[str, Any]]:
    """The version that is asked for, or the one before, and the current one."""
    if call.all("from") or call.all("to"):
        raise BadRequest("from and to are for $diff of the system; here it is fromVersion.", expression="from")
    after = transaction.read_stored(call.resource_type, call.id)
    version = call.one("fromVersion", str(after.version - 1))
    if version == "0":
        raise NotFound(f"{call.resource_type}/{call.id} has one version only: there is nothing to compare it with.")
    before = transaction.vread(call.resource_type, call.id, version)
    return json_format.parse(before.body), json_format.parse(after.body)


def _pair(transaction: Transaction, call: Call) -> tuple[dict[str, Any], dict[str, Any]]:
    if call.all("fromVersion"):
        raise BadRequest("fromVersion is for $diff of a resource; here it is from and to.", expression="fromVersion")
    before, after = (_referred(transaction, call, name) for name in ("from", "to"))
    if before["resourceType"] != after["resourceType"]:
        raise BadRequest("from and to are of one type.", expression="to")
    return before, after


def _referred(transaction: Transaction, call: Call, name: str) -> dict[str, Any]:
    """Type/id, or Type/id/_history/version."""
    found = LITERAL.fullmatch(str(call.one(name, "")).removeprefix(f"{call.base_url}/"))
    if found is None or found["base"] or not transaction.definitions.is_resource(found["type"]):
        raise BadRequest(f"{name} is Type/id or Type/id/_history/version.", expression=name)
    if found["version"]:
        return json_format.parse(transaction.vread(found["type"], found["id"], found["version"]).body)
    return transaction.read(found["type"], found["id"])


def _unstamped(resource: dict[str, Any]) -> dict[str, Any]:
    meta = {name: value for name, value in resource["meta"].items() if name not in _STAMP}
    rest = {name: value for name, value in resource.items() if name != "meta"}
    return {**rest, "meta": meta} if meta else rest
