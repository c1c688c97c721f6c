"""multipart/related read as it arrives (RFC 2387, RFC 2046 5.1): memory does not grow with the request.

Takes any boundary, any chunking of the stream, and parts without Content-Disposition. Pull-driven: whoever iterates
the parts and their bodies drives the reading.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from server.errors import BadRequest

#: Headers of one part that are longer are refused, bytes.
_MAX_HEADERS = 16 << 10
_MAX_PREAMBLE = 64 << 10


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its headers (names in lower case), and its body as it comes."""

    headers: dict[str, str]
    body: Iterator[bytes]


class PartReader:
    """The parts of one body; each must be read or left before the next."""

    def __init__(self, blocks: Iterable[bytes], boundary: str) -> None:
        if not 1 <= len(boundary) <= 200:
            raise BadRequest("The boundary must have 1 to 70 characters.", expression="Content-Type")
        self._blocks = iter(blocks)
        self._delimiter = b"\r\n--" + boundary.encode("latin_1", "replace")
        # The first boundary may stand at the very start.
        self._buffer = b"\r\n"
        self._ended = False

    def __iter__(self) -> Iterator[Part]:
        for _preamble in self._until_delimiter(_MAX_PREAMBLE):
            pass
        while not self._is_last():
            body = self._until_delimiter()
            yield Part(headers=self._headers(), body=body)
            for _rest in body:
                pass

    def _more(self) -> bool:
        block = next(self._blocks, None)
        if block is None:
            self._ended = True
            return False
        self._buffer += block
        return True

    def _until_delimiter(self, limit: int | None = None) -> Iterator[bytes]:
        """Everything up to the next delimiter, which is taken away too."""
        keep, given = len(self._delimiter) - 1, 0
        while True:
            at = self._buffer.find(self._delimiter)
            if at >= 0:
                piece, self._buffer = self._buffer[:at], self._buffer[at + len(self._delimiter) :]
                if piece:
                    yield piece
                return
            if len(self._buffer) > keep:
                piece, self._buffer = self._buffer[:-keep], self._buffer[-keep:]
                given += len(piece)
                if limit is not None and given > limit:
                    raise BadRequest("No boundary where the first part should start; check the Content-Type.")
                yield piece
            if not self._more():
                raise BadRequest("The body ends before its closing boundary; send it whole.")

    def _is_last(self) -> bool:
        """Whether the delimiter just read closes the body; takes the rest of its line away."""
        while len(self._buffer) < 2 and self._more():
            pass
        if self._buffer.startswith(b"--"):
            return True
        line = self._line()
        if line.strip(b" \t"):
            raise BadRequest("Something follows a boundary in its line.")
        return False

    def _line(self) -> bytes:
        while (at := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > _MAX_HEADERS:
                raise BadRequest(f"The headers of a part are longer than {_MAX_HEADERS} bytes.")
            if not self._more():
                raise BadRequest("The body ends inside a part's headers; send it whole.")
        line, self._buffer = self._buffer[:at], self._buffer[at + 2 :]
        return line

    def _headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        size, name = 0, ""
        while line := self._line():
            size += len(line)
            if size > _MAX_HEADERS:
                raise BadRequest(f"The headers of a part are longer than {_MAX_HEADERS} bytes.")
            text = line.decode("latin_1")
            if text[0] in " \t" and name:
                headers[name] += " " + text.strip()
                continue
            name, colon, value = text.partition(":")
            if not colon:
                raise BadRequest("A header of a part has no colon.")
            name = name.strip().lower()
            headers[name] = value.strip()
        return headers
