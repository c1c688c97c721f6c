"""capabilities: a statement made from what is really served. https://hl7.org/fhir/R4/http.html#capabilities"""

from collections.abc import Mapping, Sequence
from typing import Any

from server.fhir.definitions import Definitions
from server.interactions.route import INTERACTIONS
from server.search.index import kind_of, searchable

_BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"
_TOPIC = "capabilitystatement-subscriptiontopic-canonical"
_PATCHES = (
    "application/json-patch+json", "application/merge-patch+json", "application/fhir+json", "application/fhir+xml"
)  # fmt: skip
_OWN_ROW = {"_id": "token", "_lastUpdated": "date"}


_PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/fhir+json",
    "application/fhir+xml",
)


def capabilities(
    definitions: Definitions,
    *,
    base_url: str,
    version: str,
    date: str,
    operations: Mapping[str, tuple[tuple[str, str], ...]] | None = None,
    topics: Sequence[str] = (),
    guides: Sequence[str] = (),
) -> dict[str, Any]:
    """The CapabilityStatement; ``operations``: resource type ("" for the system) -> (name, canonical) served there.

    ``topics`` are the canonicals that can be subscribed to, told as the Subscriptions R5 Backport guide asks for;
    ``guides`` those of the statements of guides that this server does what they say.
    """
    served = operations or {}
    rest: dict[str, Any] = {
        "mode": "server",
        "resource": [_resource(definitions, name, served.get(name, ())) for name in definitions.resource_types],
        "interaction": [{"code": code} for code in ("transaction", "batch", *_codes(system=True))],
    }
    if served.get(""):
        rest["operation"] = _operations(served[""])
    for resource in rest["resource"]:
        if resource["type"] == "Subscription" and topics:
            resource["extension"] = [{"url": f"{_BACKPORT}{_TOPIC}", "valueCanonical": topic} for topic in topics]
            resource["supportedProfile"] = [f"{_BACKPORT}backport-subscription"]
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": date,
        "kind": "instance",
        **({"instantiates": list(guides)} if guides else {}),
        "software": {"name": "Hutong", "version": version},
        "implementation": {"description": "Hutong, interoperability server for imaging AI", "url": base_url},
        "fhirVersion": definitions.version,
        "format": ["application/fhir+json", "application/fhir+xml", "json", "xml"],
        "patchFormat": list(_PATCHES),
        "rest": [rest],
    }


def _resource(definitions: Definitions, name: str, operations: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    parameters = searchable(definitions, name)
    references = [code for code, found in parameters.items() if kind_of(found) == "reference"]
    statement: dict[str, Any] = {
        "type": name,
        "interaction": [{"code": code} for code in _codes(system=False)],
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalRead": "full-support",
        "conditionalUpdate": True,
        "conditionalDelete": "single",
        "searchInclude": ["*", *(f"{name}:{code}" for code in sorted(references))],
        "searchRevInclude": _referring(definitions, name),
        "searchParam": [
            {"name": code, "definition": found.url, "type": _OWN_ROW.get(code, found.type)}
            for code, found in sorted(parameters.items())
        ],
    }
    if operations:
        statement["operation"] = _operations(operations)
    return {key: value for key, value in statement.items() if value != []}


def _codes(*, system: bool) -> list[str]:
    """The interactions on the system, or on types and instances."""
    return sorted({code for code, _ in INTERACTIONS.values() if code.endswith("-system") == system})


def _referring(definitions: Definitions, name: str) -> list[str]:
    """The references of all types that may point to this one."""
    return [
        f"{source}:{code}"
        for source in definitions.resource_types
        for code, found in sorted(searchable(definitions, source).items())
        if kind_of(found) == "reference" and name in found.targets
    ]


def _operations(operations: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return [{"name": name, "definition": canonical} for name, canonical in operations]
