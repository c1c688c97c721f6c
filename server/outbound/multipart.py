"""multipart/related answers (RFC 2046 5.1) read as they come: memory holds one chunk, not a part."""

import re
from collections.abc import Iterable, Iterator

from server.errors import Unavailable

_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]{1,70})"|([^";\s]{1,70}))', re.IGNORECASE)
#: Longest head of a part, bytes.
_LONGEST_HEAD = 1 << 14


def boundary_of(content_type: str) -> bytes | None:
    """The boundary parameter; None where there is none or the type is no multipart."""
    found = _BOUNDARY.search(content_type)
    if found is None or not content_type.lower().startswith("multipart/"):
        return None
    return (found[1] or found[2]).encode("ascii", "replace")


def parts(chunks: Iterable[bytes], boundary: bytes) -> Iterator[Iterator[bytes]]:
    """The chunks of each part's body; what a part's reader leaves is skipped. Raises Unavailable when it ends early."""
    source = _Source(chunks, b"\r\n--" + boundary)
    for _ in source.until_delimiter():
        pass
    while source.another():
        body = source.until_delimiter()
        yield body
        for _ in body:
            pass


class _Source:
    """The bytes not yet given away."""

    def __init__(self, chunks: Iterable[bytes], delimiter: bytes) -> None:
        self._chunks = iter(chunks)
        self._delimiter = delimiter
        # The first delimiter has no line break before it.
        self._buffer = bytearray(b"\r\n")

    def _more(self) -> None:
        chunk = next(self._chunks, None)
        if chunk is None:
            raise Unavailable("The peer's answer ended before its last part did.")
        self._buffer += chunk

    def until_delimiter(self) -> Iterator[bytes]:
        """What is before the next delimiter; the delimiter is taken, too."""
        keep = len(self._delimiter) - 1
        while (at := self._buffer.find(self._delimiter)) < 0:
            # Its start may be at the end of what is here.
            if len(self._buffer) > keep:
                yield bytes(self._buffer[:-keep])
                del self._buffer[:-keep]
            self._more()
        if at:
            yield bytes(self._buffer[:at])
        del self._buffer[: at + len(self._delimiter)]

    def another(self) -> bool:
        """Whether a part follows the delimiter; its head is taken."""
        while len(self._buffer) < 2:
            self._more()
        if self._buffer.startswith(b"--"):
            return False
        while (at := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _LONGEST_HEAD:
                raise Unavailable("The peer's answer has a part without an end to its head.")
            self._more()
        del self._buffer[: at + 4]
        return True
