"""The DIMSE service class provider: a listener in front, a thread for each association on which something happens."""

import contextlib
import resource
import signal
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import cast

from server.dimse import associate, echo, negotiation, pdu, store, tls
from server.dimse.association import Association, served
from server.dimse.connection import Connection
from server.dimse.listener import Events, Listener, Parked
from server.dimse.negotiation import Acceptable, Negotiator
from server.dimse.pdu import Ended, ProtocolError
from server.dimse.peers import LIMIT_EXCEEDED, Admitted, Identify, Peers
from server.dimse.service import Offer
from server.dimse.store import InstanceStore
from server.dimse.stream import Released
from server.imaging.ingest import Ingest
from server.settings import Settings
from server.telemetry import logs, metrics

#: Associations at once, in all and from one address; connections that have not called yet don't count.
MOST_ASSOCIATIONS, MOST_OF_ONE_ADDRESS = 256, 128
_log = logs.logger("dimse")


def table(offers: Sequence[Offer]) -> dict[str, Acceptable]:
    """Everything that may be negotiated: the offers, and every storage SOP class."""
    accepted = negotiation.acceptable(offers)
    for syntax in store.STORAGE_CLASSES:
        accepted[syntax] = store.acceptable()
    return accepted


class DimseServer:
    """Answers on ``settings.dimse_port``, and by TLS on ``settings.dimse_tls_port``."""

    def __init__(
        self, settings: Settings, ingest: Ingest, offers: Sequence[Offer] = (), identify: Identify | None = None
    ) -> None:
        """``identify`` is asked where callers must prove who they are (``settings.dimse_identity``)."""
        self._settings = settings
        self._offers = served((echo.OFFER, *offers))
        self._peers = Peers(settings, identify if settings.dimse_identity else None)
        self._negotiator = Negotiator(
            table((echo.OFFER, *offers)),
            store.acceptable(),
            accept_unknown=settings.dimse_unknown_storage,
            identifies=settings.dimse_identity,
        )
        self._store = InstanceStore(ingest, settings.max_instance_bytes)
        self._lock = threading.Lock()
        #: Every connection that has called, and its association once there is one.
        self._active: dict[Connection, Association | None] = {}
        self._doors: list[tuple[socket.socket, ssl.SSLContext | None]] = []
        self._listener: Listener | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._bound(0)

    @property
    def tls_port(self) -> int:
        """The port that is listened on for TLS."""
        return self._bound(1)

    def start(self) -> None:
        """Binds the ports and answers from threads."""
        _raise_descriptor_limit()
        settings = self._settings
        wanted: list[tuple[int, ssl.SSLContext | None]] = [(settings.dimse_port, None)]
        if settings.dimse_tls_certificate:
            wanted.append((settings.dimse_tls_port, tls.server_context(settings)))
        for port, context in wanted:
            self._doors.append((_bind(settings.host, port), context))
        events = Events(admits=self._peers.admits, called=self._on_called, ready=self._on_ready, ended=self._on_ended)
        self._listener = Listener(self._doors, events)
        self._listener.start()

    def drain(self, seconds: float = 10.0) -> None:
        """Takes no further association and waits for those on which something happens; then ends what is left."""
        listener = self._listener
        if listener is None:
            return
        listener.close_doors()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._count():
            time.sleep(0.02)
        with self._lock:
            left = list(self._active)
        for connection in left:
            connection.shut()
        # What is being committed may come to its end; nothing of it was answered.
        ending = time.monotonic() + 1.0
        while time.monotonic() < ending and self._count():
            time.sleep(0.02)
        self._listener = None
        listener.stop()

    def stop(self) -> None:
        """Ends at once."""
        self.drain(0.0)

    def _bound(self, index: int) -> int:
        if index >= len(self._doors):
            raise RuntimeError("The server does not listen there.")
        return int(self._doors[index][0].getsockname()[1])

    def _count(self) -> int:
        with self._lock:
            return len(self._active)

    def _on_called(self, connection: Connection, body: bytes) -> None:
        """In the listener's thread: an A-ASSOCIATE-RQ came."""
        if not self._has_room(connection.address):
            self._part(connection, pdu.reject(*LIMIT_EXCEEDED))
            return
        with self._lock:
            self._active[connection] = None
        self._in_thread(connection, partial(self._establish, connection, body))

    def _has_room(self, address: str) -> bool:
        """Whether one more association may begin; one that has long been idle makes room for it."""
        listener = self._listener
        with self._lock:
            total, of_address = len(self._active), sum(one.address == address for one in self._active)
        if listener is None or (total < MOST_ASSOCIATIONS and of_address < MOST_OF_ONE_ADDRESS):
            return listener is not None
        return listener.make_room("" if total >= MOST_ASSOCIATIONS else address)

    def _on_ready(self, parked: Parked) -> None:
        """In the listener's thread: a parked association has something to read."""
        association = cast(Association, parked)
        self._in_thread(association.connection, partial(self._continue, association))

    def _on_ended(self, parked: Parked) -> None:
        self._forget(parked.connection)

    def _in_thread(self, connection: Connection, work: "partial[None]") -> None:
        thread = threading.Thread(target=self._guarded, args=(connection, work), name="dimse-association", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The system gives us no further thread; the peer may come again.
            self._forget(connection)
            self._part(connection, pdu.abort(pdu.SERVICE_PROVIDER, pdu.NOT_SPECIFIED))

    def _establish(self, connection: Connection, body: bytes) -> None:
        connection.block()
        request = associate.read_request(body)
        admitted = self._peers.admit(request, connection)
        if not isinstance(admitted, Admitted):
            _log.info("association rejected", calling=request.calling, address=connection.address, reason=admitted)
            self._forget(connection)
            self._part(connection, pdu.reject(*admitted))
            return
        agreed = self._negotiator.negotiate(request, admitted.services)
        association = Association(connection, request, admitted, agreed, self._offers, self._store)
        with self._lock:
            self._active[connection] = association
        metrics.dimse_associations.inc()
        connection.send(agreed.acceptance)
        self._continue(association)

    def _continue(self, association: Association) -> None:
        association.run()
        listener = self._listener
        if listener is None:
            raise ProtocolError("The server ends.", pdu.NOT_SPECIFIED)
        listener.park(association)

    def _guarded(self, connection: Connection, work: "partial[None]") -> None:
        """Does the work; whatever ends the association is told to the peer as PS3.8 wants it."""
        farewell = b""
        try:
            work()
            return
        except Released:
            farewell = pdu.release_response()
        except Ended:
            pass
        except ProtocolError as error:
            _log.info("association aborted", address=connection.address, why=error.details)
            farewell = pdu.abort(error.source, error.reason)
        except Exception:  # noqa: BLE001 the edge: the peer is told by an abort, the operator by the log
            _log.exception("an association failed")
            farewell = pdu.abort(pdu.SERVICE_PROVIDER, pdu.NOT_SPECIFIED)
        self._forget(connection)
        self._part(connection, farewell)

    def _forget(self, connection: Connection) -> None:
        with self._lock:
            association = self._active.pop(connection, None)
        if association is not None:
            metrics.dimse_associations.dec()

    def _part(self, connection: Connection, farewell: bytes) -> None:
        """Says the last PDU, and waits for the peer to close (Sta13) without a thread."""
        listener = self._listener
        if farewell:
            connection.say(farewell)
        if farewell and listener is not None:
            listener.wait_out(connection)
        else:
            connection.close()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    door = socket.socket(family, socket.SOCK_STREAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind((host, port))
    except OSError:
        door.close()
        raise
    return door


def _raise_descriptor_limit() -> None:
    """As many open files as the system allows us: every waiting connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def serve(settings: Settings, ingest: Ingest, offers: Sequence[Offer] = (), identify: Identify | None = None) -> None:
    """The body of a process of its own: answers until SIGTERM or SIGINT, then drains."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    signal.signal(signal.SIGINT, lambda *_: ended.set())
    server = DimseServer(settings, ingest, offers, identify)
    server.start()
    ended.wait()
    server.drain()
