"""Arrays as parameters of hot statements, packed as PostgreSQL's binary format has them (array_send in its source).

psycopg looks at every item of a list to choose how to send it; here the sort is said once for the whole array.
"""

import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

_HEAD = struct.Struct(">iiIii")
_LENGTH = struct.Struct(">i")
_NULL = _LENGTH.pack(-1)
_MICROSECOND = timedelta(microseconds=1)
#: What timestamps count from.
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class Array(list[Any]):
    """Values of one sort; which one is the subclass."""


class Texts(Array):
    """text[]"""


class Bytes(Array):
    """bytea[]"""


class Integers(Array):
    """integer[]; no nulls."""


class BigIntegers(Array):
    """bigint[]; no nulls."""


class Numerics(Array):
    """numeric[]"""


class Booleans(Array):
    """boolean[]; no nulls."""


class Times(Array):
    """timestamptz[]; no nulls."""


#: A column's type in SQL -> its array.
ARRAYS: Mapping[str, type[Array]] = {
    "text": Texts,
    "bytea": Bytes,
    "integer": Integers,
    "bigint": BigIntegers,
    "numeric": Numerics,
    "boolean": Booleans,
    "timestamptz": Times,
}


def _head(oid: int, length: int, *, nulls: bool) -> bytes:
    return _HEAD.pack(1, int(nulls), oid, length, 1) if length else struct.pack(">iii", 0, 0, oid)


def _fixed(oid: int, code: str, size: int) -> Callable[[list[Any]], bytes]:
    """Items of a fixed size without nulls."""

    def pack(values: list[Any]) -> bytes:
        flat: list[Any] = [size] * (2 * len(values))
        flat[1::2] = values
        return _head(oid, len(values), nulls=False) + struct.pack(">" + f"i{code}" * len(values), *flat)

    return pack


def _varying(oid: int, bytes_of: Callable[[Any], bytes]) -> Callable[[list[Any]], bytes]:
    def pack(values: list[Any]) -> bytes:
        parts = [_head(oid, len(values), nulls=True)]
        for value in values:
            if value is None:
                parts.append(_NULL)
            else:
                item = bytes_of(value)
                parts += (_LENGTH.pack(len(item)), item)
        return b"".join(parts)

    return pack


def _numerics(values: list[Any]) -> bytes:
    """As text: to take numbers apart into digits by hand would take longer."""
    return ("{" + ",".join("NULL" if value is None else str(value) for value in values) + "}").encode()


_bigintegers = _fixed(20, "q", 8)


def _times(values: list[Any]) -> bytes:
    packed = _bigintegers([(value - _EPOCH) // _MICROSECOND for value in values])
    return packed.replace(struct.pack(">I", 20), struct.pack(">I", 1184), 1)


#: (array, its type number in pg_type.dat, format, packer).
_PACKERS: tuple[tuple[type[Array], int, Format, Callable[[list[Any]], bytes]], ...] = (
    (Texts, 1009, Format.BINARY, _varying(25, str.encode)),
    (Bytes, 1001, Format.BINARY, _varying(17, bytes)),
    (Integers, 1007, Format.BINARY, _fixed(23, "i", 4)),
    (BigIntegers, 1016, Format.BINARY, _bigintegers),
    (Numerics, 1231, Format.TEXT, _numerics),
    (Booleans, 1000, Format.BINARY, _fixed(16, "?", 1)),
    (Times, 1185, Format.BINARY, _times),
)


def _dumper(number: int, sort: Format, pack: Callable[[list[Any]], bytes]) -> type[Dumper]:
    class Packed(Dumper):
        """What psycopg asks for the bytes of an array."""

        format = sort
        oid = number

        def dump(self, obj: Any) -> Buffer:
            return pack(obj)

    return Packed


_DUMPERS = tuple((kind, _dumper(number, sort, pack)) for kind, number, sort, pack in _PACKERS)


def register(connection: "psycopg.Connection[Any]") -> None:
    """Tells a connection of the arrays."""
    for kind, dumper in _DUMPERS:
        connection.adapters.register_dumper(kind, dumper)
