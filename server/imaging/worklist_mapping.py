"""FHIR resources as the attributes of a scheduled procedure step (PS3.4 K.6), by the table in fhir_profiles/imaging."""

import hashlib
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from functools import lru_cache
from importlib import resources
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword

from server.fhir import definitions
from server.fhir.fhirpath import Expression, compile_expression
from server.imaging.dataset import Attributes
from terminology import codings

Resource = dict[str, Any]

#: PN component group of a name by its iso21090 representation.
_GROUPS = {"ABC": "Alphabetic", "IDE": "Ideographic", "SYL": "Phonetic"}
_REPRESENTATION = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
#: Longest SH value, and longest Coding Scheme Designator and Code Value.
_SHORT = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One attribute and where it comes from."""

    tag: str
    vr: str
    #: Tag of the sequence it is in; empty at the top.
    inside: str
    kind: str
    sources: tuple[tuple[str, Expression], ...]
    words: Mapping[str, str] = field(default_factory=dict)


@lru_cache(maxsize=1)
def rows() -> tuple[Row, ...]:
    """The table, read once."""
    text = resources.files("fhir_profiles").joinpath("imaging/modality_worklist.toml").read_text(encoding="utf-8")
    return tuple(_row(entry) for entry in tomllib.loads(text)["attribute"])


def _row(entry: dict[str, Any]) -> Row:
    tag = tag_for_keyword(entry["keyword"])
    inside = tag_for_keyword(entry["inside"]) if "inside" in entry else None
    if tag is None:
        raise ValueError(f"{entry['keyword']} is no keyword of PS3.6.")
    return Row(
        tag=f"{tag:08X}",
        vr=dictionary_VR(tag),
        inside="" if inside is None else f"{inside:08X}",
        kind=entry["as"],
        sources=tuple((kind, compile_expression(path)) for kind, path in entry["from"]),
        words=entry.get("words", {}),
    )


def step(order: Mapping[str, Resource], asked: Attributes, zone: tzinfo) -> Attributes:
    """The attributes of the step that ``asked`` names and that the resources (by role) give; times in ``zone``."""
    out: Attributes = {}
    inner: dict[str, Attributes] = {}
    for row in _wanted(asked):
        found = _values(row, order, zone)
        if found:
            target = inner.setdefault(row.inside, {}) if row.inside else out
            target[row.tag] = {"vr": row.vr, "Value": found}
    return out | {tag: {"vr": "SQ", "Value": [item]} for tag, item in inner.items()}


def roles(asked: Attributes) -> frozenset[str]:
    """The roles of the resources that the attributes ``asked`` for come from."""
    return frozenset(role for row in _wanted(asked) for role, _ in row.sources)


def _wanted(asked: Attributes) -> Iterator[Row]:
    """The rows whose attribute is asked for; an empty sequence asks for all that is in it."""
    for row in rows():
        if not row.inside:
            if row.tag in asked:
                yield row
        elif row.inside in asked:
            items = asked[row.inside].get("Value") or [{}]
            if not items[0] or row.tag in items[0]:
                yield row


def _values(row: Row, order: Mapping[str, Resource], zone: tzinfo) -> list[Any]:
    for role, expression in row.sources:
        if role in order:
            values = expression.values(order[role], model=definitions.load())
            written = _WRITE[row.kind](values, row, zone)
            if written:
                return written
    return []


def _text(values: list[Any], row: Row, _zone: tzinfo) -> list[Any]:
    longest = 64 if row.vr in ("LO", "PN") else _SHORT if row.vr in ("SH", "AE", "CS") else 1024
    return [str(values[0]).replace("\\", "/")[:longest]] if values else []


def _short(values: list[Any], row: Row, zone: tzinfo) -> list[Any]:
    """An identifier; one that is too long becomes a digest, so that two stay two."""
    if values and len(str(values[0])) > _SHORT:
        return [hashlib.sha256(str(values[0]).encode()).hexdigest()[:12].upper()]
    return _text(values, row, zone)


def _word(values: list[Any], row: Row, _zone: tzinfo) -> list[Any]:
    return [row.words[values[0]]] if values and values[0] in row.words else []


def _uid(values: list[Any], row: Row, zone: tzinfo) -> list[Any]:
    return _text([str(value).removeprefix("urn:oid:") for value in values], row, zone)


def _moment(values: list[Any], form: str, least: int, zone: tzinfo) -> list[Any]:
    """A FHIR date or dateTime by DICOM's form; nothing where it is less precise."""
    text = str(values[0]) if values else ""
    if len(text) < least:
        return []
    moment = datetime.fromisoformat(text)
    return [(moment if moment.tzinfo is None else moment.astimezone(zone)).strftime(form)]


def _date(values: list[Any], _row: Row, zone: tzinfo) -> list[Any]:
    return _moment(values, "%Y%m%d", 10, zone)


def _time(values: list[Any], _row: Row, zone: tzinfo) -> list[Any]:
    return _moment(values, "%H%M%S", 11, zone)


def _codes(values: list[Any], _row: Row, _zone: tzinfo) -> list[Any]:
    return [_code(value) for value in values if value.get("code")]


def _code(value: Resource) -> Attributes:
    """An item of a code sequence (PS3.3 table 8.8-1); "L" is the designator of local schemes."""
    coding = codings.from_fhir(value)
    tag, vr = ("00080100", "SH") if len(coding.value) <= _SHORT else ("00080119", "UC")
    scheme = coding.scheme if 0 < len(coding.scheme) <= _SHORT else "L"
    return {
        tag: {"vr": vr, "Value": [coding.value]},
        "00080102": {"vr": "SH", "Value": [scheme]},
        "00080104": {"vr": "LO", "Value": [coding.meaning[:64]]},
    }


def _name(values: list[Any], _row: Row, _zone: tzinfo) -> list[Any]:
    """One person name of all its representations (PS3.5 6.2.1)."""
    groups: dict[str, str] = {}
    for value in values:
        group, text = ("Alphabetic", value) if isinstance(value, str) else (_group(value), _components(value))
        if text:
            groups.setdefault(group, text.replace("\\", " ").replace("=", " "))
    return [groups] if groups else []


def _group(name: Resource) -> str:
    extensions = [e.get("valueCode", "") for e in name.get("extension", ()) if e.get("url") == _REPRESENTATION]
    return _GROUPS.get(extensions[0] if extensions else "", "Alphabetic")


def _components(name: Resource) -> str:
    given = name.get("given", [])
    parts = [
        name.get("family", ""),
        given[0] if given else "",
        " ".join(given[1:]),
        " ".join(name.get("prefix", ())),
        " ".join(name.get("suffix", ())),
    ]
    return "^".join(part.replace("^", " ") for part in parts).rstrip("^") or name.get("text", "")


_WRITE: Mapping[str, Callable[[list[Any], Row, tzinfo], list[Any]]] = {
    "text": _text,
    "short": _short,
    "word": _word,
    "uid": _uid,
    "date": _date,
    "time": _time,
    "codes": _codes,
    "name": _name,
}
