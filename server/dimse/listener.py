"""A selector in front of the associations (PS3.8 table 9-10, Sta1, Sta2 and Sta13): who waits costs no thread.

One thread accepts connections, does TLS handshakes and collects A-ASSOCIATE-RQ PDUs; it keeps associations on which
nothing happens, and connections that their peers are to close. Everything in it has a time to live and a limit.
"""

import contextlib
import errno
import selectors
import socket
import ssl
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from server.dimse import pdu
from server.dimse.connection import Connection
from server.dimse.knocking import Knocking, Knocks
from server.dimse.pdu import ProtocolError
from server.telemetry import logs

#: Seconds until an idle association is aborted, and until a connection that the peer should close is closed.
IDLE_SECONDS, CLOSING_SECONDS = 60.0, 5.0
#: Seconds of silence after which an association is given up when the server ends, and when another needs its place.
SETTLED_SECONDS, YIELDING_SECONDS = 1.0, 10.0
#: Connections that wait for their peers to close them.
_MOST_CLOSING = 512
_BACKLOG = 512
_TICK = 0.25
#: What the system says when it gives out no further descriptor.
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_log = logs.logger("dimse")


class Parked(Protocol):
    """An association that waits for its next message."""

    @property
    def connection(self) -> Connection:
        """Its connection."""


@dataclass(frozen=True, kw_only=True)
class Events:
    """What the listener tells the server, each from the listener's thread."""

    #: Whether a peer may connect from this address.
    admits: Callable[[str], bool]
    #: A complete A-ASSOCIATE-RQ came: its body.
    called: Callable[[Connection, bytes], None]
    #: A parked association has something to read.
    ready: Callable[[Parked], None]
    #: A parked association was given up.
    ended: Callable[[Parked], None]


class Listener:
    """Runs in a thread of its own from ``start`` to ``stop``."""

    def __init__(self, doors: Sequence[tuple[socket.socket, ssl.SSLContext | None]], events: Events) -> None:
        """``doors`` are bound sockets, and the TLS context of those that speak TLS."""
        self._doors = doors
        self._events = events
        self._selector = selectors.DefaultSelector()
        self._knocks = Knocks(self._selector)
        self._parked: OrderedDict[Connection, tuple[Parked, float]] = OrderedDict()
        self._closing: OrderedDict[Connection, float] = OrderedDict()
        #: What other threads hand in: an association to park, or a connection to wait out.
        self._handed: deque[Parked | Connection] = deque()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_writer.setblocking(False)
        self._is_accepting, self._is_running = True, True
        self._thread = threading.Thread(target=self._run, name="dimse-listener", daemon=True)

    def start(self) -> None:
        """Answers from now on."""
        for door, context in self._doors:
            door.listen(_BACKLOG)
            door.setblocking(False)
            self._selector.register(door, selectors.EVENT_READ, context)
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._thread.start()

    def park(self, association: Parked) -> None:
        """Waits for the association's next message; any thread."""
        self._hand(association)

    def wait_out(self, connection: Connection) -> None:
        """Waits for the peer to close the connection (Sta13); any thread."""
        self._hand(connection)

    def make_room(self, address: str = "") -> bool:
        """Gives up the association that is idle longest, of ``address`` or of any; in the listener's thread only."""
        now = time.monotonic()
        for connection, (_parked, since) in self._parked.items():
            if now - since < YIELDING_SECONDS:
                return False
            if address in ("", connection.address):
                self._abort(connection)
                return True
        return False

    def close_doors(self) -> None:
        """Takes no further connection and drops those that have not called yet; idle associations soon after."""
        self._is_accepting = False
        self._wake()

    def stop(self) -> None:
        """Ends the thread and closes everything that it still holds."""
        self._is_accepting = self._is_running = False
        self._wake()
        self._thread.join()
        self._close_handed()

    def _hand(self, what: Parked | Connection) -> None:
        self._handed.append(what)
        self._wake()
        if not self._thread.is_alive():
            self._close_handed()

    def _close_handed(self) -> None:
        """What was handed in when nobody was there any more."""
        while self._handed:
            with contextlib.suppress(IndexError):
                what = self._handed.popleft()
                (what if isinstance(what, Connection) else what.connection).close()

    def _wake(self) -> None:
        # A full pipe wakes, too; after the end there is nobody to wake.
        with contextlib.suppress(OSError):
            self._wake_writer.send(b"\0")

    def _run(self) -> None:
        while self._is_running:
            for key, _mask in self._selector.select(_TICK):
                try:
                    self._on_event(key)
                except Exception:  # noqa: BLE001 the edge: one odd connection must not make the server deaf
                    _log.exception("a connection failed in the listener")
                    self._abandon(key)
            self._take_handed()
            self._expire(time.monotonic())
            if not self._is_accepting:
                self._shut_doors()
        self._close()

    def _on_event(self, key: selectors.SelectorKey) -> None:
        match key.data:
            case Knocking() as knocking:
                self._on_knocking(knocking)
            case Connection() as connection if connection in self._parked:
                parked, _since = self._parked.pop(connection)
                self._selector.unregister(connection.sock)
                self._events.ready(parked)
            case Connection() as connection:
                self._drain(connection)
            case _ if key.fileobj is self._wake_reader:
                self._wake_reader.recv(4096)
            case context:
                self._accept(key.fileobj, context)  # type: ignore[arg-type]

    def _abandon(self, key: selectors.SelectorKey) -> None:
        connection = key.data.connection if isinstance(key.data, Knocking) else key.data
        if isinstance(connection, Connection):
            self._parked.pop(connection, None)
            self._give_up(connection)

    def _accept(self, door: socket.socket, context: ssl.SSLContext | None) -> None:
        # A burst of callers must not keep the others waiting.
        for _turn in range(64):
            try:
                sock, address = door.accept()
            except BlockingIOError:
                return
            except OSError as error:
                # Without descriptors the next caller takes the place of one that only waits; else it is gone already.
                if error.errno in _EXHAUSTED and not self._knocks.drop_oldest():
                    time.sleep(_TICK)
                return
            if not self._events.admits(address[0]):
                sock.close()
                continue
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if context is not None:
                    sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
                self._knocks.add(Connection(sock, address[0]))
            except OSError:
                sock.close()

    def _on_knocking(self, knocking: Knocking) -> None:
        try:
            body = self._knocks.go_on(knocking)
        except ProtocolError as error:
            self._knocks.take(knocking)
            knocking.connection.say(pdu.abort(error.source, error.reason))
            self._await_close(knocking.connection)
            return
        except OSError:
            self._knocks.take(knocking)
            knocking.connection.close()
            return
        if body is not None:
            self._knocks.take(knocking)
            self._events.called(knocking.connection, body)

    def _take_handed(self) -> None:
        while self._handed:
            what = self._handed.popleft()
            if isinstance(what, Connection):
                self._await_close(what)
            elif self._register(what.connection):
                self._parked[what.connection] = what, time.monotonic()
            else:
                self._events.ended(what)

    def _register(self, connection: Connection) -> bool:
        try:
            self._selector.register(connection.sock, selectors.EVENT_READ, connection)
        except (ValueError, KeyError, OSError):
            # It was closed meanwhile.
            return False
        return True

    def _await_close(self, connection: Connection) -> None:
        with contextlib.suppress(OSError):
            connection.sock.setblocking(False)
        connection.want(1)
        if not self._register(connection):
            connection.close()
            return
        self._closing[connection] = time.monotonic()
        if len(self._closing) > _MOST_CLOSING:
            self._give_up(next(iter(self._closing)))

    def _drain(self, connection: Connection) -> None:
        """Sta13: whatever still comes is ignored until the peer closes."""
        try:
            while connection.sock.recv(1 << 16):
                pass
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError:
            pass
        self._give_up(connection)

    def _give_up(self, connection: Connection) -> None:
        self._closing.pop(connection, None)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(connection.sock)
        connection.close()

    def _expire(self, now: float) -> None:
        self._knocks.expire(now)
        while self._closing:
            connection, since = next(iter(self._closing.items()))
            if now - since < CLOSING_SECONDS:
                break
            self._give_up(connection)
        idle = IDLE_SECONDS if self._is_accepting else SETTLED_SECONDS
        while self._parked:
            connection, (_parked, since) = next(iter(self._parked.items()))
            if now - since < idle:
                break
            self._abort(connection)

    def _abort(self, connection: Connection) -> None:
        """Gives up a parked association."""
        parked, _since = self._parked.pop(connection)
        self._selector.unregister(connection.sock)
        connection.say(pdu.abort(pdu.SERVICE_PROVIDER, pdu.NOT_SPECIFIED))
        self._await_close(connection)
        self._events.ended(parked)

    def _shut_doors(self) -> None:
        for door, _context in self._doors:
            if door.fileno() >= 0:
                self._selector.unregister(door)
                door.close()
        self._knocks.drop_all()

    def _close(self) -> None:
        self._shut_doors()
        self._take_handed()
        for parked, _since in self._parked.values():
            parked.connection.say(pdu.abort(pdu.SERVICE_PROVIDER, pdu.NOT_SPECIFIED))
            parked.connection.close()
            self._events.ended(parked)
        for connection in self._closing:
            connection.close()
        self._selector.close()
        self._wake_reader.close()
        self._wake_writer.close()
