"""Instances sent to a peer by C-STORE and by STOW-RS: our own server's parts stand in for it."""

import gc
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt

from server.errors import Unavailable, Unprocessable
from server.outbound.dicom import send
from server.settings import Peer

Make = Callable[..., bytes]
CT = "1.2.840.10008.5.1.4.1.1.2"


class Scp:
    """A C-STORE SCP that answers what it is told to."""

    def __init__(self, *syntaxes: str) -> None:
        self.got: list[str] = []
        self.status = 0
        entity = AE(ae_title="PEER")
        entity.require_called_aet = True
        entity.add_supported_context(CT, list(syntaxes))
        self.server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        self.peer = Peer(name="pacs", ae_title="PEER", port=self.server.server_address[1])

    def _store(self, event: Any) -> int:
        self.got.append(event.request.AffectedSOPInstanceUID)
        return self.status


@pytest.fixture
def scp() -> Iterator[Scp]:
    started = Scp(ExplicitVRLittleEndian)
    yield started
    started.server.shutdown()


def test_c_store_sends_every_instance(scp: Scp, make_instance: Make) -> None:
    send(scp.peer, [make_instance(1), make_instance(2)])
    assert scp.got == ["1.2.3.1.1", "1.2.3.1.2"]


def test_a_peer_that_takes_implicit_vr_only_is_served(make_instance: Make) -> None:
    scp = Scp(ImplicitVRLittleEndian)
    send(scp.peer, [make_instance(1)])
    scp.server.shutdown()
    assert scp.got == ["1.2.3.1.1"]


@pytest.mark.parametrize(("status", "error"), [(0xA700, Unavailable), (0xC000, Unprocessable), (0x0110, Unprocessable)])
def test_a_refusal_is_an_error(scp: Scp, make_instance: Make, status: int, error: type[Exception]) -> None:
    scp.status = status
    with pytest.raises(error):
        send(scp.peer, [make_instance(1)])


def test_a_warning_is_success(scp: Scp, make_instance: Make) -> None:
    scp.status = 0xB000
    send(scp.peer, [make_instance(1)])


# pynetdicom leaves the socket of a failed connection to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nobody_there_and_a_wrong_title(scp: Scp, make_instance: Make) -> None:
    with pytest.raises(Unavailable):
        send(Peer(name="x", ae_title="WRONG", port=scp.peer.port), [make_instance(1)])
    with pytest.raises(Unavailable):
        send(Peer(name="x", ae_title="PEER", port=1), [make_instance(1)])
    with pytest.raises(Unavailable):
        send(Peer(name="x", url="http://127.0.0.1:1/dicomweb"), [make_instance(1)])
    gc.collect()


class Stow(BaseHTTPRequestHandler):
    """A STOW-RS service that answers what its server carries."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append((self.path, self.headers["Content-Type"], body))  # type: ignore[attr-defined]
        status, answer = self.server.answer  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_arguments: Any) -> None:
        """Says nothing."""


ONE = b'{"00081199":{"vr":"SQ","Value":[{}]}}'


@pytest.mark.parametrize(
    ("status", "answer", "error"),
    [
        (200, ONE, None),
        (200, b"{}", Unprocessable),
        (202, b'{"00081198":{"vr":"SQ","Value":[{"00081197":{"Value":[273]}}]}}', Unprocessable),
        (503, b"", Unavailable),
        (409, b"", Unprocessable),
        (200, b"<html>", Unprocessable),
    ],
)
def test_stow(make_instance: Make, status: int, answer: bytes, error: type[Exception] | None) -> None:
    server = HTTPServer(("127.0.0.1", 0), Stow)
    server.bodies, server.answer = [], (status, answer)  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    peer = Peer(name="web", url=f"http://127.0.0.1:{server.server_address[1]}/dicomweb/")
    try:
        if error is None:
            send(peer, [make_instance(1)])
        else:
            with pytest.raises(error):
                send(peer, [make_instance(1)])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    ((path, kind, body),) = server.bodies  # type: ignore[attr-defined]
    assert path == "/dicomweb/studies" and kind.startswith("multipart/related") and make_instance(1) in body
