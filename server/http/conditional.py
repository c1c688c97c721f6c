"""Entity tags, preconditions and byte ranges (RFC 9110 chapters 8.8.3, 13 and 14)."""

import hashlib
import re

from fastapi import Request

#: A range set that asks for more pieces is answered with the whole.
_MOST_RANGES = 16
_RANGE = re.compile(r"(\d{0,18})-(\d{0,18})", re.ASCII)
_TAG = re.compile(r'(?:W/)?("[^"]*")')


#: Kept by the client alone, which asks each time whether it still holds: what was deleted is shown by no cache.
CACHE = {"Cache-Control": "private, no-cache"}


class NotSatisfiable(Exception):
    """No part of the range set lies within the representation."""


def entity_tag(*parts: bytes | str) -> str:
    """A strong entity tag: the same parts always stand for the same bytes."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big"))
        digest.update(raw)
    return f'"{digest.hexdigest()[:32]}"'


def is_known(request: Request, tag: str) -> bool:
    """Whether the client has these bytes already: If-None-Match, by weak comparison."""
    header = request.headers.get("if-none-match", "")
    return header.strip() == "*" or tag in _TAG.findall(header)


def ranges(request: Request, length: int, tag: str) -> list[tuple[int, int]]:
    """First byte and the one behind the last of each range asked for; empty for the whole. Raises NotSatisfiable."""
    header = request.headers.get("range", "")
    unit, _, asked = header.partition("=")
    if not asked or unit.strip().lower() != "bytes" or request.method != "GET":
        return []
    condition = request.headers.get("if-range", "").strip()
    if condition and condition != tag:
        return []
    found = [_RANGE.fullmatch(part.strip()) for part in asked.split(",") if part.strip()]
    if not 0 < len(found) <= _MOST_RANGES:
        return []
    spans = []
    for match in found:
        if match is None or match[0] == "-" or (match[1] and match[2] and int(match[2]) < int(match[1])):
            # What is no range set is ignored.
            return []
        spans.append(_span(match[1], match[2], length))
    satisfied = [span for span in spans if span[0] < span[1]]
    if not satisfied:
        raise NotSatisfiable
    # Overlapping ranges would give a few bytes many times.
    return [(0, length)] if sum(stop - start for start, stop in satisfied) > length else satisfied


def _span(first: str, last: str, length: int) -> tuple[int, int]:
    if not first:
        return max(length - int(last), 0), length
    return int(first), min(int(last) + 1, length) if last else length
