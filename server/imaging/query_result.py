"""What a search answers about one patient, study, series or instance, from what the index keeps ready."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import orjson

from server.imaging.dataset import Attributes
from server.imaging.index import PATIENT_KEYS, SERIES_KEYS, STUDY_KEYS
from server.imaging.query_keys import ORDER, is_above
from server.store.studies import Found, Level

_STUDY = frozenset(PATIENT_KEYS + STUDY_KEYS) | {"00080056", "00080061", "00080062", "00081190", "00201206", "00201208"}
_SERIES = frozenset(SERIES_KEYS) | {"00080056", "00081190", "0020000D", "00201209"}
_INSTANCE = frozenset(
    {"00080016", "00080018", "00080056", "00081190", "00083002", "0020000D", "0020000E", "00200013"}
) | {"00280008", "00280010", "00280011", "00280100"}
#: Tags that are answered without a look into an instance's header.
STORED: dict[Level, frozenset[str]] = {
    "patient": frozenset(PATIENT_KEYS) | {"00201200", "00201202", "00201204"},
    "study": _STUDY,
    "series": _STUDY | _SERIES,
    "instance": _STUDY | _SERIES | _INSTANCE,
}
#: Tags that belong below a level, so that the first instance's header says nothing of all.
_BELOW: dict[Level, frozenset[str]] = {
    "patient": (_STUDY | _SERIES | _INSTANCE) - STORED["patient"],
    "study": (_SERIES | _INSTANCE) - STORED["study"],
    "series": _INSTANCE - STORED["series"],
    "instance": frozenset(),
}
#: Tags that every result has, if need be without a value (PS3.18 tables 10.6.3-3 and -4).
_REQUIRED: dict[Level, dict[str, str]] = {
    "patient": {},
    "study": {
        **{"00080020": "DA", "00080030": "TM", "00080050": "SH", "00080090": "PN", "00100010": "PN"},
        **{"00100020": "LO", "00100030": "DA", "00100040": "CS", "00200010": "SH"},
    },
    "series": {"00080060": "CS", "0008103E": "LO", "00200011": "IS"},
    "instance": {},
}


def _one(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)} if values and values[0] is not None else {"vr": vr}


#: Attributes of studies and patients kept parsed at a time.
_MOST_PARSED = 500


class Kept:
    """Attributes of results; what many of them share is parsed once."""

    def __init__(self, level: Level, top: Level) -> None:
        """``top`` is the highest level whose attributes each result brings along."""
        self._level = level
        self._top = top
        self._parsed: dict[bytes, Attributes] = {}
        self._has = {step: is_above(top, step) and is_above(step, level) for step in ORDER}

    def attributes(self, found: Found) -> Attributes:
        """All that the index keeps of it, and the unique keys above it; not in the order of tags."""
        out: Attributes = {}
        if self._has["patient"] and found.patient_attributes:
            out |= self._parse(found.patient_attributes)
        if self._has["study"] and found.study_attributes:
            out |= self._parse(found.study_attributes)
            out["00080061"] = _one("CS", *found.modalities)
            out["00080062"] = _one("UI", *found.sop_classes)
            out["00201206"] = _one("IS", found.series_count)
            out["00201208"] = _one("IS", found.instance_count)
        if self._has["series"] and found.series_attributes:
            out |= self._parse(found.series_attributes)
            out["00201209"] = _one("IS", found.series_instance_count)
        if self._level != "patient":
            out["0020000D"] = _one("UI", found.study)
        if self._level in ("series", "instance"):
            out["0020000E"] = _one("UI", found.series)
        if self._level == "instance":
            out |= _instance(found)
        return out

    def required(self) -> Attributes:
        """The attributes that a result has without a value where it has none."""
        return {tag: {"vr": vr} for step in ORDER if self._has[step] for tag, vr in _REQUIRED[step].items()}

    def _parse(self, attributes: bytes) -> Attributes:
        parsed = self._parsed.get(attributes)
        if parsed is None:
            if len(self._parsed) >= _MOST_PARSED:
                # Results come in order, so that what is shared is shared with neighbours.
                self._parsed.clear()
            parsed = self._parsed[attributes] = orjson.loads(attributes)
        return parsed


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


def header_part(level: Level, metadata: bytes | None, wanted: frozenset[str] | None) -> Attributes:
    """From the stored header: the tags wanted (all for None) that may be told at this level; no bulk data."""
    if not metadata or (wanted is None and level != "instance"):
        return {}
    header: Attributes = orjson.loads(metadata)
    tags = set(header) if wanted is None else (wanted & header.keys()) - _BELOW[level]
    tags |= {creator for tag in tags for creator in _creator(tag) if creator in header}
    return {tag: header[tag] for tag in tags if "BulkDataURI" not in header[tag]}


def _creator(tag: str) -> list[str]:
    """The Private Creator element of a private one (PS3.18 10.6.3.3: it comes along)."""
    private = int(tag[:4], 16) & 1 == 1 and tag[4:6] != "00"
    return [f"{tag[:4]}00{tag[4:6]}"] if private else []


def needs_header(level: Level, include: frozenset[str] | None) -> bool:
    """Whether the tags included are not all kept ready."""
    return level == "instance" if include is None else bool(include - STORED[level] - _BELOW[level])


def instance_lines(found: Sequence[Found], base_url: str) -> list[bytes]:
    """Results below a series as DICOM JSON, written out: every value is a UID or a number, and the order is known."""
    url = orjson.dumps(base_url).decode()[1:-1]
    return [_line(item, url).encode() for item in found]


def _line(item: Found, url: str) -> str:
    study, series, instance = item.study, item.series, item.instance
    number = "" if item.instance_number is None else f',"Value":[{item.instance_number}]'
    image = ""
    if item.rows is not None:
        image = f',"00280008":{{"vr":"IS","Value":[{item.frames}]}},"00280010":{{"vr":"US","Value":[{item.rows}]}}'
        image += _short("00280011", item.columns) + _short("00280100", item.bits_allocated)
    return (
        '{"00080005":{"vr":"CS","Value":["ISO_IR 192"]},'
        f'"00080016":{{"vr":"UI","Value":["{item.sop_class}"]}},"00080018":{{"vr":"UI","Value":["{instance}"]}},'
        '"00080056":{"vr":"CS","Value":["ONLINE"]},"00081190":{"vr":"UR","Value":['
        f'"{url}/studies/{study}/series/{series}/instances/{instance}"]}},'
        f'"00083002":{{"vr":"UI","Value":["{item.transfer_syntax}"]}},'
        f'"0020000D":{{"vr":"UI","Value":["{study}"]}},"0020000E":{{"vr":"UI","Value":["{series}"]}},'
        f'"00200013":{{"vr":"IS"{number}}}{image}}}'
    )


def _short(tag: str, value: int | None) -> str:
    return f',"{tag}":{{"vr":"US"}}' if value is None else f',"{tag}":{{"vr":"US","Value":[{value}]}}'


def below_level(level: Level, paths: Iterable[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """Those of the attributes that belong to a lower level, and are not answered (PS3.18 10.6.3.3)."""
    return {path for path in paths if path[0] in _BELOW[level]}


def results(
    level: Level, top: Level, found: Sequence[Found], include: frozenset[str] | None, base_url: str
) -> Iterator[Attributes]:
    """QIDO-RS results (PS3.18 10.6.3.3) as DICOM JSON model objects."""
    kept = Kept(level, top)
    required = kept.required()
    for item in found:
        attributes = header_part(level, item.metadata, include) | required | kept.attributes(item)
        attributes["00080005"] = _one("CS", "ISO_IR 192")
        attributes["00080056"] = _one("CS", "ONLINE")
        attributes["00081190"] = _one("UR", url_of(level, item, base_url))
        yield attributes


def url_of(level: Level, found: Found, base_url: str) -> str:
    """Where the study, series or instance is retrieved."""
    url = f"{base_url}/studies/{found.study}"
    if level != "study":
        url += f"/series/{found.series}"
    return f"{url}/instances/{found.instance}" if level == "instance" else url


def json_of(attributes: Attributes) -> bytes:
    """One result in the order of its tags (PS3.18 F.2.2)."""
    return orjson.dumps(attributes, option=orjson.OPT_SORT_KEYS)


Parts = dict[str, "Parts"]


def parts_asked(include: Collection[tuple[str, ...]], stored: frozenset[str]) -> Parts:
    """Of which sequences only some attributes are asked for, as a tree; an empty branch is the whole element."""
    tree: Parts = {}
    for path in include:
        branch = tree
        for tag in path:
            branch = branch.setdefault(tag, {})
    whole = {path[0] for path in include if len(path) == 1} | stored
    return {tag: branch for tag, branch in tree.items() if branch and tag not in whole}


def only(attributes: Attributes, parts: Parts) -> Attributes:
    """The attributes, with those sequences cut down to what was asked for."""
    out = dict(attributes)
    for tag, inner in parts.items():
        values = attributes.get(tag, {}).get("Value")
        if inner and values:
            kept = [{key: item[key] for key in inner if key in item} for item in values]
            out[tag] = {"vr": "SQ", "Value": [only(item, inner) for item in kept]}
    return out
