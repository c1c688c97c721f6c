"""The bytes of one association cut into PDUs and presentation data values (PS3.8 9.3.5, annex E), without copies.

What is read lies in one buffer; fragments are handed out as views into it, valid until the next call.
"""

from collections.abc import Iterator

from server.dimse.connection import Connection
from server.dimse.pdu import (
    ABORT,
    COMMAND,
    HEADER,
    LAST,
    PDV,
    RELEASE_RQ,
    UNEXPECTED_PARAMETER,
    Ended,
    ProtocolError,
    check_header,
)

_BUFFER = 1 << 18
#: Bytes of a command set; those of PS3.7 annex E have a few hundred.
_LONGEST_COMMAND = 1 << 16


class Released(Ended):
    """The peer asked for the association's orderly release."""


class Stream:
    """Reads fragments from a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._buffer = memoryview(b"")
        self._start = self._end = 0
        #: Bytes that are left of the present PDU, and of the present PDV.
        self._in_pdu = self._in_pdv = 0
        self._context_id = self._control = 0

    def open(self) -> None:
        """Takes a buffer."""
        if not self._buffer:
            self._buffer = memoryview(bytearray(_BUFFER))

    def idle(self) -> bool:
        """Whether everything that came was taken; if so the buffer is given back, else False."""
        if self._start != self._end or self._in_pdu:
            return False
        self._buffer = memoryview(b"")
        self._start = self._end = 0
        return True

    def waits(self, seconds: float) -> bool:
        """Whether there is something to read within ``seconds``."""
        return self._start != self._end or self._in_pdu > 0 or self._connection.readable(seconds)

    def command(self) -> tuple[int, bytes]:
        """The next command set and its presentation context; raises Ended, Released, ProtocolError."""
        context_id, parts, size = 0, list[bytes](), 0
        while True:
            piece = self._piece()
            if not self._control & COMMAND or (context_id and self._context_id != context_id):
                raise ProtocolError("A fragment came that does not continue the command set.", UNEXPECTED_PARAMETER)
            context_id = self._context_id
            size += len(piece)
            if size > _LONGEST_COMMAND:
                raise ProtocolError(f"A command set of more than {_LONGEST_COMMAND} bytes.")
            if piece:
                parts.append(bytes(piece))
            if self._control & LAST and not self._in_pdv:
                return context_id, b"".join(parts)

    def data(self, context_id: int) -> Iterator[memoryview]:
        """The data set that follows a command set, in pieces; raises Ended, Released, ProtocolError."""
        while True:
            piece = self._piece()
            if self._control & COMMAND or self._context_id != context_id:
                raise ProtocolError("A fragment came that does not continue the data set.", UNEXPECTED_PARAMETER)
            if piece:
                yield piece
            if self._control & LAST and not self._in_pdv:
                return

    def _piece(self) -> memoryview:
        """The next bytes of one fragment, as many as are there; empty only where the fragment is."""
        if not self._in_pdv:
            self._next_pdv()
            if not self._in_pdv:
                return self._buffer[:0]
        if self._start == self._end:
            self._start = self._end = 0
            self._fill()
        size = min(self._in_pdv, self._end - self._start)
        piece = self._buffer[self._start : self._start + size]
        self._start += size
        self._in_pdv -= size
        self._in_pdu -= size
        return piece

    def _next_pdv(self) -> None:
        while not self._in_pdu:
            self._next_pdu()
        if self._in_pdu < PDV.size:
            raise ProtocolError("A P-DATA-TF PDU ends inside the header of a presentation data value.")
        self._need(PDV.size)
        length, self._context_id, self._control = PDV.unpack_from(self._buffer, self._start)
        if not 2 <= length <= self._in_pdu - 4:
            raise ProtocolError(f"A presentation data value of {length} bytes does not fit into its PDU.")
        self._start += PDV.size
        self._in_pdu -= PDV.size
        self._in_pdv = length - 2

    def _next_pdu(self) -> None:
        self._need(HEADER.size)
        kind, length = HEADER.unpack_from(self._buffer, self._start)
        check_header(kind, length)
        self._start += HEADER.size
        if kind == RELEASE_RQ:
            raise Released("The peer released the association.")
        if kind == ABORT:
            raise Ended("The peer aborted the association.")
        self._in_pdu = length

    def _need(self, size: int) -> None:
        """Makes ``size`` bytes lie together in the buffer."""
        if self._end - self._start >= size:
            return
        rest = bytes(self._buffer[self._start : self._end])
        self._buffer[: len(rest)] = rest
        self._start, self._end = 0, len(rest)
        while self._end < size:
            self._fill()

    def _fill(self) -> None:
        self._end += self._connection.receive_into(self._buffer[self._end :])
