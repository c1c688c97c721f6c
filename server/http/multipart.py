"""multipart/related read as it arrives (RFC 2387, RFC 2046 5.1): memory does not grow with the request.

Takes any boundary, any chunking of the stream, and parts without Content-Disposition. The body is pushed in block by
block, and what it holds is told to a sink.
"""

from collections.abc import Callable
from typing import Protocol

from server.errors import BadRequest

#: Headers of one part that are longer are refused, bytes.
_MAX_HEADERS = 16 << 10
_MAX_PREAMBLE = 64 << 10


class PartSink(Protocol):
    """Is told of each part: its headers (names in lower case), its body in pieces, its end."""

    def begin(self, headers: dict[str, str]) -> None:
        """A part starts."""

    def data(self, piece: bytes | memoryview) -> None:
        """More of its body."""

    def end(self) -> None:
        """The part is whole."""


class PartParser:
    """Divides one body into its parts."""

    def __init__(self, boundary: str, sink: PartSink) -> None:
        if not 1 <= len(boundary) <= 200:
            raise BadRequest("The boundary must have 1 to 70 characters.", expression="Content-Type")
        self._sink = sink
        self._delimiter = b"\r\n--" + boundary.encode("latin_1", "replace")
        # The first boundary may stand at the very start.
        self._buffer = b"\r\n"
        self._at = 0
        self._preamble = 0
        self._headers: dict[str, str] = {}
        self._header_bytes = 0
        self._name = ""
        #: Does what it can with the buffer; whether the next step may go on in it.
        self._step: Callable[[], bool] = self._skip_preamble

    def feed(self, block: bytes) -> None:
        """Takes the next block of the body; raises BadRequest where it can't be one."""
        self._buffer = self._buffer[self._at :] + block if self._at < len(self._buffer) else block
        self._at = 0
        while self._step():
            pass

    def close(self) -> None:
        """The body is at its end; raises BadRequest unless its closing boundary came."""
        if self._step != self._skip_rest:
            raise BadRequest("The body ends before its closing boundary; send it whole.")
        self._buffer = b""

    def _skip_preamble(self) -> bool:
        found = self._buffer.find(self._delimiter)
        if found < 0:
            kept = min(len(self._buffer), len(self._delimiter) - 1)
            self._preamble += len(self._buffer) - kept
            self._at = len(self._buffer) - kept
            if self._preamble > _MAX_PREAMBLE:
                raise BadRequest("No boundary where the first part should start; check the Content-Type.")
            return False
        self._at = found + len(self._delimiter)
        self._step = self._end_delimiter
        return True

    def _end_delimiter(self) -> bool:
        """Whether the delimiter just read closes the body; takes the rest of its line away."""
        if len(self._buffer) - self._at < 2:
            return False
        if self._buffer.startswith(b"--", self._at):
            self._step = self._skip_rest
            return True
        line = self._line()
        if line is None:
            return False
        if line.strip(b" \t"):
            raise BadRequest("Something follows a boundary in its line.")
        self._headers, self._header_bytes, self._name = {}, 0, ""
        self._step = self._read_header
        return True

    def _read_header(self) -> bool:
        line = self._line()
        if line is None:
            return False
        if not line:
            self._sink.begin(self._headers)
            self._step = self._read_body
            return True
        self._header_bytes += len(line)
        if self._header_bytes > _MAX_HEADERS:
            raise BadRequest(f"The headers of a part are longer than {_MAX_HEADERS} bytes.")
        self._note_header(line.decode("latin_1"))
        return True

    def _note_header(self, text: str) -> None:
        if text[0] in " \t" and self._name:
            self._headers[self._name] += " " + text.strip()
            return
        name, colon, value = text.partition(":")
        if not colon:
            raise BadRequest("A header of a part has no colon.")
        self._name = name.strip().lower()
        self._headers[self._name] = value.strip()

    def _read_body(self) -> bool:
        found = self._buffer.find(self._delimiter, self._at)
        stop = found if found >= 0 else self._no_delimiter_before()
        if stop > self._at:
            self._sink.data(memoryview(self._buffer)[self._at : stop])
            self._at = stop
        if found < 0:
            return False
        self._sink.end()
        self._at = found + len(self._delimiter)
        self._step = self._end_delimiter
        return True

    def _no_delimiter_before(self) -> int:
        """Where a delimiter may start that the next block completes."""
        earliest = max(len(self._buffer) - len(self._delimiter) + 1, self._at)
        start = self._buffer.find(b"\r", earliest)
        return start if start >= 0 else len(self._buffer)

    def _skip_rest(self) -> bool:
        """What follows the closing boundary means nothing."""
        self._at = len(self._buffer)
        return False

    def _line(self) -> bytes | None:
        found = self._buffer.find(b"\r\n", self._at)
        if found < 0:
            if len(self._buffer) - self._at > _MAX_HEADERS:
                raise BadRequest(f"The headers of a part are longer than {_MAX_HEADERS} bytes.")
            return None
        line = self._buffer[self._at : found]
        self._at = found + 2
        return line
