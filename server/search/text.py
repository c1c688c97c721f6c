"""Text as search sees it: folded (no case, no accents, single spaces), and a query's escapes taken apart."""

import re

from terminology.words import fold, storable

__all__ = ["LONGEST_KEY", "cut", "fold", "split", "storable", "unescape"]

#: btree rows hold 2,704 bytes: longer codes and addresses are indexed by their beginning.
LONGEST_KEY = 500


def cut(value: str) -> str:
    """What of a code or address goes into an index; the same cut is made on both sides of a comparison."""
    return storable(value)[:LONGEST_KEY]


def split(value: str, separator: str) -> list[str]:
    r"""Parts of a search value between unescaped separators; ``\`` escapes stay for ``unescape``.

    https://hl7.org/fhir/R4/search.html#escaping
    """
    if "\\" not in value:
        return value.split(separator)
    parts, start, at = [], 0, 0
    while at < len(value):
        if value[at] == "\\":
            at += 2
            continue
        if value[at] == separator:
            parts.append(value[start:at])
            start = at + 1
        at += 1
    return [*parts, value[start:]]


_ESCAPED = re.compile(r"\\([\\,$|])")


def unescape(value: str) -> str:
    r"""``\,`` ``\$`` ``\|`` and ``\\`` as the characters that they stand for."""
    return _ESCAPED.sub(r"\1", value) if "\\" in value else value
