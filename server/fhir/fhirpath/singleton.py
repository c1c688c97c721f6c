"""One value out of a collection: https://hl7.org/fhirpath/N1/#singleton-evaluation-of-collections."""

from decimal import Decimal
from typing import Any

from server.errors import Unprocessable
from server.fhir.fhirpath.node import Collection, system_value


def single(collection: Collection, what: str) -> Any:
    """The System value of the only item, None for an empty collection; Unprocessable if there are several."""
    if not collection:
        return None
    if len(collection) > 1:
        raise Unprocessable(
            f"FHIRPath: {what} takes one item, not {len(collection)}; choose one with first() or where()"
        )
    return system_value(collection[0])


def truth(collection: Collection, what: str) -> bool | None:
    """A collection as a Boolean: empty is None, one item that is no Boolean is true, several are Unprocessable."""
    if not collection:
        return None
    value = single(collection, what)
    return value if isinstance(value, bool) else True


def text(collection: Collection, what: str) -> str | None:
    """A single string; None for empty; Unprocessable for anything else."""
    value = single(collection, what)
    if value is None or isinstance(value, str):
        return value
    raise Unprocessable(f"FHIRPath: {what} takes a string; convert with toString()")


def integer(collection: Collection, what: str) -> int | None:
    """A single integer; None for empty; Unprocessable for anything else."""
    value = single(collection, what)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise Unprocessable(f"FHIRPath: {what} takes an integer; convert with toInteger()")


def number(collection: Collection, what: str) -> int | Decimal | None:
    """A single integer or decimal; None for empty; Unprocessable for anything else."""
    value = single(collection, what)
    if value is None or (isinstance(value, int | Decimal) and not isinstance(value, bool)):
        return value
    raise Unprocessable(f"FHIRPath: {what} takes a number; convert with toDecimal()")
