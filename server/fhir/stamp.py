"""What the server puts on a resource that is stored, and what makes two versions the same.

https://hl7.org/fhir/R4/resource.html#Meta
"""

from datetime import datetime
from typing import Any

from server.errors import Unprocessable
from server.fhir import instants, json_format

Resource = dict[str, Any]
_STAMP = ("versionId", "lastUpdated")


def stamped(resource: Resource, id: str, version: int, moment: datetime) -> Resource:
    """The resource with the id, versionId and lastUpdated that it is stored with, sharing what is below."""
    meta = resource.get("meta") or {}
    if not isinstance(meta, dict):
        raise Unprocessable("meta is an object.", expression="meta")
    stamp = {**meta, "versionId": str(version), "lastUpdated": instants.text(moment)}
    rest = {name: value for name, value in resource.items() if name not in ("resourceType", "id", "meta")}
    return {"resourceType": resource["resourceType"], "id": id, "meta": stamp, **rest}


def content(resource: Resource) -> bytes:
    """What makes two versions the same: everything but the stamp, whatever the order, decimals digit for digit."""
    meta = {name: value for name, value in (resource.get("meta") or {}).items() if name not in _STAMP}
    return json_format.write_sorted({**resource, "meta": meta})
