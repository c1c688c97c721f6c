"""The query part of a URL as parameters, and back."""

from collections.abc import Sequence
from urllib.parse import parse_qsl, urlencode

from server.errors import BadRequest

Parameters = Sequence[tuple[str, str]]
_MOST = 1000


def parameters(query: str) -> list[tuple[str, str]]:
    """``name=value&...`` taken apart; an optional ``Type?`` in front is left out. BadRequest when it can't be read."""
    text = query.partition("?")[2] if "?" in query.partition("=")[0] else query
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST, errors="strict")
    except ValueError as error:
        raise BadRequest(f"The query can't be read: {error}.") from error


def normal(query: str) -> str:
    """Equal for queries that ask the same in another order."""
    return urlencode(sorted(parameters(query)))


def encoded(pairs: Parameters) -> str:
    """Parameters as the query part of a URL."""
    return urlencode(list(pairs))
