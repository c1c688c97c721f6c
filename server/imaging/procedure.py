"""A performed procedure step as a FHIR Procedure (https://hl7.org/fhir/R4/procedure.html; PS3.3 C.4.13 to C.4.15)."""

import uuid
from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

from server.imaging import attributes as read
from server.imaging.dataset import Attributes
from server.imaging.index import NAMESPACE
from terminology.codings import Coding

Resource = dict[str, Any]

#: PS3.3 C.4.14's defined terms -> FHIR event-status.
STATUS = {"IN PROGRESS": "in-progress", "COMPLETED": "completed", "DISCONTINUED": "stopped"}


def procedure_id(tenant: int, step: str) -> str:
    """Id of the Procedure of a step."""
    return str(uuid.uuid5(NAMESPACE, "\x1f".join(("Procedure", str(tenant), step))))


def build(
    resource_id: str, step: str, header: Attributes, *, subject: str, orders: Sequence[str], zone: tzinfo
) -> Resource:
    """The Procedure of a step; ``subject`` and ``orders`` are references."""
    resource: Resource = {
        "resourceType": "Procedure",
        "id": resource_id,
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{step}"}],
        "basedOn": [{"reference": order} for order in orders if order.startswith("ServiceRequest/")],
        "status": STATUS[read.text(header, "00400252")],
        "subject": {"reference": subject},
        "performedPeriod": _period(header, zone),
        "statusReason": _concept(header, "00400281", ""),
        "code": _concept(header, "00081032", read.text(header, "00400255") or read.text(header, "00400254")),
        "performer": _performer(header),
    }
    return {key: value for key, value in resource.items() if value not in ([], {}, None)}


def _period(header: Attributes, zone: tzinfo) -> Resource:
    moments = {
        "start": read.moment(header, "00400244", "00400245", zone),
        "end": read.moment(header, "00400250", "00400251", zone),
    }
    return {name: moment.isoformat().replace("+00:00", "Z") for name, moment in moments.items() if moment is not None}


def _concept(header: Attributes, sequence: str, text: str) -> Resource:
    codings = [code for item in read.items(header, sequence) if (code := _code(item))]
    return ({"coding": codings} if codings else {}) | ({"text": text} if text else {})


def _code(item: Attributes) -> Resource | None:
    value, scheme, meaning = (read.text(item, key) for key in ("00080100", "00080102", "00080104"))
    return Coding(value=value, scheme=scheme, meaning=meaning or value).to_fhir() if value and scheme else None


def _performer(header: Attributes) -> list[Resource]:
    station = read.text(header, "00400241")
    return [{"actor": {"type": "Device", "identifier": {"value": station}}}] if station else []
