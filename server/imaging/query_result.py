"""One QIDO-RS result as DICOM JSON (PS3.18 10.6.3.3), joined from what the index keeps ready."""

from typing import Any

import orjson

from server.imaging.dataset import Attributes
from server.imaging.index import PATIENT_KEYS, SERIES_KEYS, STUDY_KEYS
from server.store.studies import Found, Level

_STUDY = frozenset(PATIENT_KEYS + STUDY_KEYS) | {"00080056", "00080061", "00080062", "00081190", "00201206", "00201208"}
_SERIES = frozenset(SERIES_KEYS) | {"00080056", "00081190", "0020000D", "00201209"}
_INSTANCE = frozenset(
    {"00080016", "00080018", "00080056", "00081190", "00083002", "0020000D", "0020000E", "00200013"}
) | {"00280008", "00280010", "00280011", "00280100"}
#: Tags that a result holds without a look into an instance's header.
STORED: dict[Level, frozenset[str]] = {
    "study": _STUDY,
    "series": _STUDY | _SERIES,
    "instance": _STUDY | _SERIES | _INSTANCE,
}
#: Tags that every study result has, if need be without a value (PS3.18 table 10.6.3-3).
_REQUIRED_STUDY = {
    **{"00080020": "DA", "00080030": "TM", "00080050": "SH", "00080090": "PN", "00100010": "PN", "00100020": "LO"},
    **{"00100030": "DA", "00100040": "CS", "00200010": "SH"},
}
_REQUIRED_SERIES = {"00080060": "CS", "0008103E": "LO", "00200011": "IS"}


def _one(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)} if values and values[0] is not None else {"vr": vr}


def result(level: Level, found: Found, include: frozenset[str] | None, base_url: str, *, relational: Level) -> bytes:
    """The result; ``relational`` is the highest level whose attributes it must bring along."""
    parts: list[bytes] = []
    out: Attributes = {"00080005": _one("CS", "ISO_IR 192"), "00080056": _one("CS", "ONLINE")}
    if relational == "study":
        out |= _study(found, parts)
    if level != "study" and relational in ("study", "series"):
        out |= _series(found, parts)
    if level == "instance":
        out |= _instance(found)
    out["0020000D"] = _one("UI", found.study)
    url = f"{base_url}/studies/{found.study}"
    if level != "study":
        out["0020000E"] = _one("UI", found.series)
        url += f"/series/{found.series}"
    if level == "instance":
        url += f"/instances/{found.instance}"
    out["00081190"] = _one("UR", url)
    _extra(level, found, include, out)
    return _join(parts, out)


def _study(found: Found, parts: list[bytes]) -> Attributes:
    parts += [found.patient_attributes, found.study_attributes]
    return {
        "00080061": _one("CS", *found.modalities),
        "00080062": _one("UI", *found.sop_classes),
        "00201206": _one("IS", found.series_count),
        "00201208": _one("IS", found.instance_count),
    }


def _series(found: Found, parts: list[bytes]) -> Attributes:
    parts.append(found.series_attributes)
    return {"00201209": _one("IS", found.series_instance_count)}


def _instance(found: Found) -> Attributes:
    out = {
        "00080016": _one("UI", found.sop_class),
        "00080018": _one("UI", found.instance),
        "00083002": _one("UI", found.transfer_syntax),
        "00200013": _one("IS", found.instance_number),
    }
    if found.rows is not None:
        out |= {
            "00280008": _one("IS", found.frames),
            "00280010": _one("US", found.rows),
            "00280011": _one("US", found.columns),
            "00280100": _one("US", found.bits_allocated),
        }
    return out


def _extra(level: Level, found: Found, include: frozenset[str] | None, out: Attributes) -> None:
    """What includefield asks for beyond what is kept ready, from the stored header."""
    if not found.metadata:
        return
    header: Attributes = orjson.loads(found.metadata)
    if include is None and level != "instance":
        return
    wanted = header.keys() if include is None else include
    for tag in wanted - out.keys():
        if tag in header and "BulkDataURI" not in header[tag]:
            out[tag] = header[tag]


def _join(parts: list[bytes], out: Attributes) -> bytes:
    """One object of several; the later win, and required attributes are there even without a value."""
    merged: Attributes = {}
    for part in parts:
        merged |= orjson.loads(part)
    required = _REQUIRED_STUDY if len(parts) > 1 else {}
    if len(parts) in (1, 3):
        required = required | _REQUIRED_SERIES
    merged |= out
    for tag, vr in required.items():
        merged.setdefault(tag, {"vr": vr})
    return orjson.dumps(merged, option=orjson.OPT_SORT_KEYS)
