"""The DIMSE service class provider: C-ECHO and C-STORE on one port."""

import ipaddress
import signal
import socket
import threading
import time
from typing import Any

from pydicom import Dataset
from pydicom.uid import AllTransferSyntaxes
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.presentation import AllStoragePresentationContexts, PresentationContext
from pynetdicom.sop_class import Verification

from server.dimse.gate import GatedServer
from server.dimse.store import NOT_AUTHORIZED, SUCCESS, AssociationStore, status
from server.imaging.ingest import Ingest
from server.imaging.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from server.security.access import Access
from server.settings import Settings

#: Associations at once; silent connections don't count.
MOST_ASSOCIATIONS = 256
#: Seconds: for a message of the negotiation, for the rest of one message, and for the next message.
ACSE_TIMEOUT, DIMSE_TIMEOUT, NETWORK_TIMEOUT = 10.0, 30.0, 60.0
#: Bytes of one P-DATA PDU; larger ones cost fewer turns.
_MAXIMUM_LENGTH = 1 << 18


class _Context(PresentationContext):  # type: ignore[misc]
    """A context that all associations share: pynetdicom only reads the acceptor's, but copies them for each."""

    def __deepcopy__(self, _memo: dict[int, Any]) -> "_Context":
        return self


def _context(abstract_syntax: str, transfer_syntaxes: list[str]) -> _Context:
    context = _Context()
    context.abstract_syntax = abstract_syntax
    context.transfer_syntax = transfer_syntaxes
    return context


class DimseServer:
    """Answers on ``settings.dimse_port``."""

    def __init__(self, settings: Settings, ingest: Ingest) -> None:
        self._settings = settings
        self._ingest = ingest
        self._hosts = {peer.ae_title: _addresses(peer.host) for peer in settings.peers if peer.ae_title}
        self._stores: dict[Association, AssociationStore] = {}
        self._lock = threading.Lock()
        self._ae = self._entity()
        self._server: GatedServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        if self._server is None:
            raise RuntimeError("The server is not started.")
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Binds the port and answers from a thread."""
        syntaxes = [str(uid) for uid in AllTransferSyntaxes]
        contexts = [_context(Verification, syntaxes[:2])] + [
            _context(str(storage.abstract_syntax), syntaxes) for storage in AllStoragePresentationContexts
        ]
        self._server = self._ae.make_server(
            (self._settings.host, self._settings.dimse_port),
            ae_title=self._settings.ae_title,
            contexts=contexts,
            evt_handlers=[
                (evt.EVT_ESTABLISHED, self._on_established),
                (evt.EVT_C_ECHO, self._on_c_echo),
                (evt.EVT_C_STORE, self._on_c_store),
                (evt.EVT_CONN_CLOSE, self._on_close),
            ],
            server_class=GatedServer,
            admits=self._admits,
        )
        # AE.shutdown() ends the servers it knows.
        self._ae._servers.append(self._server)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="dimse", daemon=True)
        self._thread.start()

    def drain(self, seconds: float = 10.0) -> None:
        """Takes no further association and waits for those that run; then ends what is left."""
        if self._server is None:
            return
        server, self._server = self._server, None
        running = server.active_associations
        server.shutdown()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and any(association.is_alive() for association in running):
            time.sleep(0.05)
        for association in running:
            if association.is_alive():
                association.abort()
        if self._thread is not None:
            self._thread.join()

    def stop(self) -> None:
        """Ends at once."""
        self.drain(0.0)

    def _entity(self) -> AE:
        entity = AE(ae_title=self._settings.ae_title)
        entity.require_called_aet = True
        entity.maximum_associations = MOST_ASSOCIATIONS
        entity.maximum_pdu_size = _MAXIMUM_LENGTH
        entity.acse_timeout = ACSE_TIMEOUT
        entity.dimse_timeout = DIMSE_TIMEOUT
        entity.network_timeout = NETWORK_TIMEOUT
        entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        if not self._settings.is_loopback:
            # An empty list would let everybody in.
            entity.require_calling_aet = list(self._hosts) or ["-"]
        return entity

    def _admits(self, address: str) -> bool:
        if self._settings.is_loopback:
            return True
        return any(_plain(address) in hosts for hosts in self._hosts.values())

    def _access(self, association: Association) -> Access | None:
        """The caller's rights by AE title and address; None where the table has no such pair."""
        title, address = association.requestor.ae_title.strip(), association.requestor.address
        if self._settings.is_loopback or _plain(address) in self._hosts.get(title, frozenset()):
            return Access(who=f"ae:{title}", scopes=frozenset({"read", "write"}))
        return None

    def _on_c_echo(self, _event: Event) -> int:
        return SUCCESS

    def _on_established(self, event: Event) -> None:
        access = self._access(event.assoc)
        if access is not None:
            with self._lock:
                self._stores[event.assoc] = AssociationStore(self._ingest, access)

    def _on_c_store(self, event: Event) -> Dataset:
        with self._lock:
            store = self._stores.get(event.assoc)
        if store is None:
            return status(NOT_AUTHORIZED, "This AE title may not call from this address.")
        return store.store(event)

    def _on_close(self, event: Event) -> None:
        with self._lock:
            store = self._stores.pop(event.assoc, None)
        if store is not None:
            store.end()


def _plain(address: str) -> str:
    """An IPv4 address that came mapped into IPv6, as IPv4."""
    parsed = ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def _addresses(host: str) -> frozenset[str]:
    """The addresses of a configured peer, looked up once at the start."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        # A name that is not known yet admits nobody; the restart after its repair does.
        return frozenset()
    return frozenset(_plain(str(entry[4][0])) for entry in found)


def serve(settings: Settings, ingest: Ingest) -> None:
    """The body of a process of its own: answers until SIGTERM or SIGINT, then drains."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    signal.signal(signal.SIGINT, lambda *_: ended.set())
    server = DimseServer(settings, ingest)
    server.start()
    ended.wait()
    server.drain()
