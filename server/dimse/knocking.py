"""Connections whose peers have not called yet (PS3.8 table 9-10, Sta2): they wait, but not for ever nor in any number.

A newcomer is never shut out by those that only hold a connection open: where there is no room left, the oldest of the
address that holds most is closed.
"""

import contextlib
import select
import selectors
import ssl
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from server.dimse import pdu
from server.dimse.connection import Connection
from server.dimse.pdu import ASSOCIATE_RQ, HEADER, UNEXPECTED_PDU, UNRECOGNIZED_PDU, ProtocolError

#: Seconds from the connection to the complete A-ASSOCIATE-RQ (the ARTIM timer, PS3.8 9.1.4).
ARTIM_SECONDS = 10.0
#: Connections that wait at once, and bytes that they hold together.
MOST_WAITING, MOST_BUFFERED = 4096, 32 << 20
#: Bytes of an A-ASSOCIATE-RQ: 128 contexts with every transfer syntax there is have a quarter of it.
LONGEST_REQUEST = 1 << 20
#: Bytes that the kernel may collect before it wakes us.
_LOW_WATER = 1 << 14


@dataclass(eq=False, slots=True)
class Knocking:
    """One connection that waits."""

    connection: Connection
    since: float
    is_shaking: bool
    #: The PDU as far as it came, and how long it will be as far as we know.
    buffer: bytearray = field(default_factory=bytearray)
    size: int = HEADER.size


class Knocks:
    """All that wait, by address, the oldest first; only the listener's thread touches them."""

    def __init__(self, selector: selectors.BaseSelector, *, most: int = MOST_WAITING) -> None:
        self._selector = selector
        self._most = most
        self._by_address: dict[str, OrderedDict[Knocking, None]] = {}
        self._count = self._buffered = 0

    def add(self, connection: Connection) -> None:
        """Lets one more wait."""
        knocking = Knocking(connection, time.monotonic(), connection.encrypted)
        connection.want(knocking.size)
        self._selector.register(connection.sock, selectors.EVENT_READ, knocking)
        self._by_address.setdefault(connection.address, OrderedDict())[knocking] = None
        self._count += 1
        if self._count > self._most:
            self.drop_oldest()

    def go_on(self, knocking: Knocking) -> bytes | None:
        """Reads what came; the request's body when it is whole. Raises OSError at the end, ProtocolError."""
        if knocking.is_shaking:
            event = knocking.connection.handshake()
            if event:
                wanted = selectors.EVENT_READ if event == select.POLLIN else selectors.EVENT_WRITE
                self._selector.modify(knocking.connection.sock, wanted, knocking)
                return None
            self._selector.modify(knocking.connection.sock, selectors.EVENT_READ, knocking)
            knocking.is_shaking = False
        while len(knocking.buffer) < knocking.size:
            left = knocking.size - len(knocking.buffer)
            try:
                data = knocking.connection.sock.recv(min(left, 1 << 16))
            except (BlockingIOError, ssl.SSLWantReadError):
                knocking.connection.want(min(left, _LOW_WATER))
                self._bound()
                return None
            if not data:
                raise ConnectionResetError
            knocking.buffer += data
            self._buffered += len(data)
            if len(knocking.buffer) == knocking.size == HEADER.size:
                knocking.size += _request_length(knocking.buffer)
        return bytes(knocking.buffer[HEADER.size :])

    def take(self, knocking: Knocking) -> None:
        """Takes one out; it was not closed."""
        address = knocking.connection.address
        ours = self._by_address.get(address, OrderedDict())
        if knocking not in ours:
            return
        del ours[knocking]
        if not ours:
            del self._by_address[address]
        self._count -= 1
        self._buffered -= len(knocking.buffer)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(knocking.connection.sock)

    def drop_oldest(self) -> bool:
        """Closes the oldest of the address that holds most; whether there was any."""
        if not self._by_address:
            return False
        most = max(self._by_address.values(), key=len)
        self._drop(next(iter(most)))
        return True

    def expire(self, now: float) -> None:
        """Closes those whose time is over."""
        for ours in list(self._by_address.values()):
            while ours:
                oldest = next(iter(ours))
                if now - oldest.since < ARTIM_SECONDS:
                    break
                self._drop(oldest)

    def drop_all(self) -> None:
        """Closes all of them."""
        while self._by_address:
            self.drop_oldest()

    def _bound(self) -> None:
        while self._buffered > MOST_BUFFERED:
            self._drop(
                max((one for ours in self._by_address.values() for one in ours), key=lambda one: len(one.buffer))
            )

    def _drop(self, knocking: Knocking) -> None:
        self.take(knocking)
        knocking.connection.close()


def _request_length(header: bytearray) -> int:
    """The length of the A-ASSOCIATE-RQ that starts so; raises ProtocolError (PS3.8 table 9-10, Sta2)."""
    kind, length = HEADER.unpack(header)
    if kind != ASSOCIATE_RQ:
        known = ASSOCIATE_RQ < kind <= pdu.ABORT
        raise ProtocolError("The first PDU is no A-ASSOCIATE-RQ.", UNEXPECTED_PDU if known else UNRECOGNIZED_PDU)
    if length > LONGEST_REQUEST:
        raise ProtocolError(f"An A-ASSOCIATE-RQ of {length} bytes; at most {LONGEST_REQUEST} are read.")
    return int(length)
