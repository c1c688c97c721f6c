"""FHIR instants and the ids that the server chooses."""

import secrets
import time
from datetime import UTC, datetime
from uuid import UUID


def now() -> datetime:
    """This moment, to the millisecond that ``text`` writes."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def text(moment: datetime) -> str:
    """An instant in UTC: https://hl7.org/fhir/R4/datatypes.html#instant"""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_id() -> str:
    """An id that sorts by the time it was made: a version 7 UUID (RFC 9562, 5.7)."""
    milliseconds = time.time_ns() // 1_000_000
    random = secrets.randbits(74)
    value = (milliseconds & ((1 << 48) - 1)) << 80 | 0x7 << 76 | (random >> 62) << 64 | 0b10 << 62
    return str(UUID(int=value | random & ((1 << 62) - 1)))
