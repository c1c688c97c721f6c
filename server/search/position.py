"""The special parameter ``near``: https://hl7.org/fhir/R4/location.html#positional"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from math import asin, cos, degrees, radians, sin, sqrt
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, Double, and_, cast, func
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from server.errors import BadRequest
from server.fhir.fhirpath.node import Node
from server.fhir.fhirpath.ucum import canonical
from server.search.entry import Entry
from server.search.number import decimal
from server.search.text import split, unescape

MODIFIERS: frozenset[str] = frozenset()
Columns = ReadOnlyColumnCollection[str, Any]
_NUMBER = re.compile(r"[+-]?\d{1,20}(\.\d{0,20})?([eE][+-]?\d{1,2})?", re.ASCII)
#: Mean radius of the Earth in kilometres (IUGG).
_RADIUS = 6371.0088
_METRE = canonical("m")
#: What is no UCUM, but often written.
_COMMON = {"": "km", "mi": "[mi_i]"}
#: What "near" means when no distance is given, in kilometres.
_DEFAULT = 50.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Operand:
    """Within ``distance`` kilometres of a point, in degrees."""

    kind: ClassVar[str] = "position"
    latitude: float
    longitude: float
    distance: float
    suffix: str = ""


def entries(node: Node) -> Iterator[Entry]:
    """The index row of Location.position."""
    value = node.value
    if isinstance(value, dict):
        latitude, longitude = decimal(value.get("latitude")), decimal(value.get("longitude"))
        if latitude is not None and longitude is not None:
            yield Entry("position", (latitude, longitude))


def parse(text: str) -> Operand:
    """The operand of ``latitude|longitude[|distance[|units]]``; raises BadRequest."""
    parts = [unescape(part) for part in split(text, "|")]
    if not 2 <= len(parts) <= 4 or not all(_NUMBER.fullmatch(part) for part in parts[:3]):
        raise BadRequest("Near is latitude|longitude|distance|units, e.g. 42.25|-83.69|11.2|km.")
    latitude, longitude = float(parts[0]), float(parts[1])
    distance = float(parts[2]) * _kilometres(parts[3] if parts[3:] else "") if parts[2:] else _DEFAULT
    if not (abs(latitude) <= 90 and abs(longitude) <= 180 and 0 <= distance < 1e9):
        raise BadRequest("Near wants a latitude of -90..90, a longitude of -180..180 and a distance of 0 or more.")
    return Operand(latitude=latitude, longitude=longitude, distance=distance)


def _kilometres(units: str) -> float:
    """How long a unit of UCUM is; BadRequest for one that is no length."""
    unit = canonical(_COMMON.get(units, units))
    if unit is None or _METRE is None or unit.dimension != _METRE.dimension:
        raise BadRequest(f"'{units[:30]}' is no unit of length in UCUM; write km, m, [mi_i] or another.")
    return float(unit.in_base(Decimal(1))) / 1000


def clause(operand: Operand, columns: Columns) -> ColumnElement[bool]:
    """The great-circle distance (haversine) over the columns of index_position."""
    latitude = func.radians(cast(columns["latitude"], Double))
    longitude = func.radians(cast(columns["longitude"], Double))
    here, meridian = radians(operand.latitude), radians(operand.longitude)
    across = func.power(func.sin((longitude - meridian) / 2), 2)
    chord = func.power(func.sin((latitude - here) / 2), 2) + func.cos(latitude) * cos(here) * across
    distance = 2 * _RADIUS * func.asin(func.least(1.0, func.sqrt(chord)))
    # A little wider than the circle, for the index to look along one band of latitudes.
    band = degrees(operand.distance / _RADIUS) * 1.001 + 0.001
    south, north = (Decimal(f"{operand.latitude + way * band:.6f}") for way in (-1, 1))
    return and_(columns["latitude"] >= south, columns["latitude"] <= north, distance <= operand.distance)


def matches(operand: Operand, values: tuple[Any, ...]) -> bool:
    """The same, for one row in memory."""
    latitude, longitude = radians(float(values[0])), radians(float(values[1]))
    here, meridian = radians(operand.latitude), radians(operand.longitude)
    chord = sin((latitude - here) / 2) ** 2 + cos(latitude) * cos(here) * sin((longitude - meridian) / 2) ** 2
    return 2 * _RADIUS * asin(min(1.0, sqrt(chord))) <= operand.distance
