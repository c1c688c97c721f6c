"""What a service answers when it can't: the closed error tree as statuses with their places (PS3.7 annex C)."""

import re

from pydicom.datadict import tag_for_keyword

from server.dimse.service import Response
from server.errors import Forbidden, HutongError, TooLarge, Unavailable

OUT_OF_RESOURCES = 0xA700
DOES_NOT_MATCH = 0xA900
UNABLE_TO_PROCESS = 0xC000
NOT_AUTHORIZED = 0x0124
CANCELLED = 0xFE00
_TAG = re.compile(r"[0-9A-Fa-f]{8}")


def failure(error: HutongError, *, otherwise: int = UNABLE_TO_PROCESS) -> Response:
    """The response to a query or retrieval that failed; ``otherwise`` is the status where the error has none."""
    if isinstance(error, Forbidden):
        status = NOT_AUTHORIZED
    elif isinstance(error, Unavailable | TooLarge):
        status = OUT_OF_RESOURCES
    else:
        status = otherwise
    place = offending(error.issues[0].expression)
    command = {"OffendingElement": [place]} if place is not None and status == otherwise else {}
    return Response(status=status, comment=error.details, command=command)


def offending(expression: str) -> int | None:
    """The tag that an error's place names, by keyword or by tag path; None where it names none."""
    first = re.split(r"[/.]", expression, maxsplit=1)[0]
    if _TAG.fullmatch(first):
        return int(first, 16)
    tag: int | None = tag_for_keyword(first)
    return tag
