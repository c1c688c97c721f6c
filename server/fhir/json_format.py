"""FHIR JSON without loss: decimals keep their digits (https://hl7.org/fhir/R4/json.html#primitive)."""

import json
from decimal import Decimal
from typing import Any

import orjson

from server.errors import BadRequest

#: The longest integer that fits 64 bits whatever its sign.
_INTEGER_DIGITS = 18
#: Decimals with more digits behind the point are written with an exponent.
_LONGEST_FRACTION = 40


def parse(body: bytes) -> dict[str, Any]:
    """The resource in ``body``; decimals as Decimal. Raises BadRequest when it is no JSON object."""
    resource = parse_any(body)
    if not isinstance(resource, dict):
        raise BadRequest("A FHIR resource is a JSON object that has a resourceType.")
    return resource


def parse_any(body: bytes) -> Any:
    """Any JSON value, decimals as Decimal; BadRequest when it is none."""
    try:
        return json.loads(body, parse_float=Decimal, parse_int=_integer, parse_constant=_refuse)
    except RecursionError as error:
        raise BadRequest("The JSON is nested too deeply.") from error
    except ValueError as error:
        raise BadRequest(f"The body is no JSON: {error}. Send one FHIR resource as UTF-8 JSON.") from error


def write(value: Any) -> bytes:
    """JSON as UTF-8 bytes; raises BadRequest for text that is no Unicode."""
    try:
        return orjson.dumps(value, default=_fragment)
    except orjson.JSONEncodeError as error:
        raise BadRequest(f"This can't be written as JSON: {error}.") from error


def raw(body: bytes) -> orjson.Fragment:
    """Bytes that are JSON already, to stand as a value inside of what ``write`` writes."""
    return orjson.Fragment(body)


def _integer(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= _INTEGER_DIGITS else Decimal(digits)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _fragment(value: Any) -> orjson.Fragment:
    if isinstance(value, Decimal):
        positional = -_LONGEST_FRACTION <= int(value.as_tuple().exponent) <= 0
        return orjson.Fragment(format(value, "f") if positional else str(value))
    raise TypeError(f"{type(value).__name__} has no place in FHIR JSON")


def write_sorted(value: Any) -> bytes:
    """As ``write``, keys in order: equal content gives equal bytes."""
    return orjson.dumps(value, default=_fragment, option=orjson.OPT_SORT_KEYS)
