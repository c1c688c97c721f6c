"""What indexing makes of one value: a row for one of the index tables."""

from typing import Any, NamedTuple


class Entry(NamedTuple):
    """One index row before it is tied to a resource and a parameter."""

    #: Which index table: token, string, reference, date, number, quantity, uri, position or words.
    kind: str
    #: The table's own columns, in order.
    values: tuple[Any, ...]
    #: See ``numbers.number``.
    suffix: str = ""
