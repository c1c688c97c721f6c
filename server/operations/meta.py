"""$meta, $meta-add and $meta-delete: https://hl7.org/fhir/R4/resource-operation-meta.html

Profiles, tags and security labels: of one resource, or all that are in use on a type or the system. A change of them
makes a new version here.
"""

from typing import Any

from server.operations.definition import Call, defined
from server.operations.operation import Operation
from server.repository import Repository

_CANONICAL = "http://hl7.org/fhir/OperationDefinition/Resource-meta"
_CODINGS = ("security", "tag")


def operations(repository: Repository) -> tuple[Operation, ...]:
    """All three; ``$meta`` on types and the system too."""

    def meta(call: Call) -> dict[str, Any]:
        if call.id:
            return _answer(repository.read(call.access, call.resource_type, call.id)["meta"])
        types = (call.resource_type,) if call.resource_type else repository.definitions.resource_types
        with repository.reading(call.access) as transaction:
            return _answer(transaction.labels(types))

    def add(call: Call) -> dict[str, Any]:
        return _changed(repository, call, _added)

    def delete(call: Call) -> dict[str, Any]:
        return _changed(repository, call, _without)

    return (
        defined(repository, _CANONICAL, meta),
        defined(repository, f"{_CANONICAL}-add", add, safe=False),
        defined(repository, f"{_CANONICAL}-delete", delete, safe=False),
    )


def _answer(meta: dict[str, Any]) -> dict[str, Any]:
    # An empty object is none in FHIR.
    return {"resourceType": "Parameters", **({"parameter": [{"name": "return", "valueMeta": meta}]} if meta else {})}


def _changed(repository: Repository, call: Call, change: Any) -> dict[str, Any]:
    with repository.transaction(call.access) as transaction:
        resource = transaction.read(call.resource_type, call.id, lock=True)
        meta, given = dict(resource["meta"]), call.one("meta")
        for name in ("profile", *_CODINGS):
            listed = change(name, meta.pop(name, []), given.get(name) or [])
            if listed:
                meta[name] = listed
        written = transaction.update({**resource, "meta": meta})
    return _answer(written.resource["meta"])


def _key(name: str, one: Any) -> Any:
    """What makes two entries the same: of a Coding system and code."""
    return (one.get("system"), one.get("code")) if name in _CODINGS and isinstance(one, dict) else str(one)


def _added(name: str, listed: list[Any], given: list[Any]) -> list[Any]:
    found = {_key(name, one): one for one in [*given, *listed]}
    order = [*listed, *given]
    return list({_key(name, one): found[_key(name, one)] for one in order}.values())


def _without(name: str, listed: list[Any], given: list[Any]) -> list[Any]:
    gone = {_key(name, one) for one in given}
    return [one for one in listed if _key(name, one) not in gone]
