"""Findings to bytes and back without loss: canonical JSON with a version.

The server commits these bytes before anything is written from them, so that a rerun never infers again. The same
Findings always give the same bytes: keys sorted, no white space, floats by their shortest exact decimal.
"""

import base64
import json
import types
from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from dicom_sr.errors import UnreadableReport, UnwritableFindings
from dicom_sr.findings import Findings

_FORMAT, _VERSION = "hutong-findings", 1


def serialise(findings: Findings) -> bytes:
    """The bytes of a Findings; raises UnwritableFindings for a number that JSON has no form for."""
    document = {"format": _FORMAT, "version": _VERSION, "findings": _plain(findings)}
    try:
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()
    except ValueError as error:
        raise UnwritableFindings("not a finite number, or text that is no Unicode", place="findings") from error


def deserialise(body: bytes) -> Findings:
    """The Findings of ``serialise``'s bytes; raises UnreadableReport with the place."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableReport("no JSON") from error
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise UnreadableReport("no Findings", place="format")
    if document.get("version") != _VERSION:
        raise UnreadableReport("Findings of a version that is not known here", place="version")
    findings = _typed(Findings, document.get("findings"), "findings")
    if not isinstance(findings, Findings):
        raise UnreadableReport("no Findings", place="findings")
    return findings


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise UnwritableFindings("a timestamp needs a time zone", place="timestamp")
        return value.isoformat()
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _typed(kind: Any, value: Any, place: str) -> Any:
    """The value as the type that its field declares."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, Union):
        return None if value is None else _typed(next(a for a in arguments if a is not type(None)), value, place)
    if is_dataclass(kind) and isinstance(kind, type):
        return _object(kind, value, place)
    if origin is tuple:
        return _tuple(arguments, value, place)
    return _scalar(kind, value, place)


def _object(kind: type, value: Any, place: str) -> Any:
    if not isinstance(value, dict):
        raise UnreadableReport(f"no {kind.__name__}", place=place)
    hints = _hints(kind)
    if unknown := value.keys() - hints.keys():
        raise UnreadableReport("an attribute that is not known here", place=f"{place}.{min(unknown)}")
    try:
        return kind(**{name: _typed(hints[name], item, f"{place}.{name}") for name, item in value.items()})
    except TypeError as error:
        raise UnreadableReport(f"no whole {kind.__name__}", place=place) from error


def _tuple(arguments: tuple[Any, ...], value: Any, place: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise UnreadableReport("no list", place=place)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        kinds: tuple[Any, ...] = (arguments[0],) * len(value)
    elif len(arguments) == len(value):
        kinds = arguments
    else:
        raise UnreadableReport(f"a list of {len(arguments)} is needed", place=place)
    return tuple(_typed(k, item, f"{place}[{n}]") for n, (k, item) in enumerate(zip(kinds, value, strict=True)))


def _scalar(kind: Any, value: Any, place: str) -> Any:
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    try:
        if kind is bytes and isinstance(value, str):
            return base64.b64decode(value, validate=True)
        if kind is datetime and isinstance(value, str):
            return datetime.fromisoformat(value)
    except ValueError as error:
        raise UnreadableReport(f"no {kind.__name__}", place=place) from error
    if type(value) is not kind:
        raise UnreadableReport(f"no {getattr(kind, '__name__', kind)}", place=place)
    return value
