"""C-ECHO and C-STORE as SCU: pynetdicom, dcmtk and a peer that misbehaves stand on the other side."""

import contextlib
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit
from pynetdicom import AE, evt

from server.errors import HutongError, NotAcceptable, Unavailable
from server.outbound.dimse.echo import echo
from server.outbound.dimse.entity import Entity
from server.outbound.dimse.store import Originator, contexts, is_stored, sender
from server.settings import Peer
from tests.orthanc import free_port

Make = Callable[..., bytes]
CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT, IMPLICIT = str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian)
US = Entity(title="HUTONG", implementation=("2.25.1", "HUTONG_1"))


class Scp:
    """A C-STORE SCP that answers what it is told to."""

    def __init__(self, *syntaxes: str, maximum: int = 16382) -> None:
        self.got: list[Any] = []
        self.status = 0
        entity = AE(ae_title="PEER")
        entity.require_called_aet = True
        entity.maximum_pdu_size = maximum
        entity.add_supported_context("1.2.840.10008.1.1")
        entity.add_supported_context(CT, list(syntaxes))
        handlers = [(evt.EVT_C_STORE, self._store)]
        self.server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.peer = Peer(name="pacs", ae_title="PEER", port=self.server.server_address[1], timeout=5)

    def _store(self, event: Any) -> int:
        self.got.append(event.request)
        self.server_syntax = event.context.transfer_syntax
        return self.status


@pytest.fixture
def scp() -> Iterator[Scp]:
    started = Scp(EXPLICIT)
    yield started
    started.server.shutdown()


def encoded(file: bytes) -> bytes:
    """The data set of a file, without its file meta information."""
    return file[132 + 12 + struct.unpack_from("<I", file, 140)[0] :]


def test_echo(scp: Scp) -> None:
    echo(US, scp.peer)


@pytest.mark.parametrize("maximum", [0, 512, 16382, 1 << 20])
def test_data_sets_arrive_as_they_were_whatever_the_size_of_pdus(make_instance: Make, maximum: int) -> None:
    scp = Scp(EXPLICIT, maximum=maximum)
    file = make_instance(1, PixelData=bytes(range(256)) * 1024)
    data = encoded(file)
    try:
        with sender(US, scp.peer, {(CT, EXPLICIT)}) as opened:
            assert opened.accepts(CT) == (EXPLICIT,)
            assert opened.store(CT, "1.2.3.1.1", EXPLICIT, data) == 0
            pieces = [data[at : at + 1000] for at in range(0, len(data), 1000)]
            assert opened.store(CT, "1.2.3.1.1", EXPLICIT, pieces) == 0
            assert opened.store(CT, "1.2.3.1.1", EXPLICIT, [b"", data, b""]) == 0
    finally:
        scp.server.shutdown()
    assert [request.DataSet.getvalue() for request in scp.got] == [data] * 3


def test_what_a_c_move_needs_is_sent_along(scp: Scp, make_instance: Make) -> None:
    asked = Originator(ae_title="VIEWER", message_id=7)
    with sender(US, scp.peer, {(CT, EXPLICIT)}, originator=asked) as opened:
        opened.store(CT, "1.2.3.1.1", EXPLICIT, encoded(make_instance(1)), priority=1)
    request = scp.got[0]
    assert (request.MoveOriginatorApplicationEntityTitle, request.MoveOriginatorMessageID) == ("VIEWER", 7)
    assert request.Priority == 1


def test_the_peer_says_what_it_takes(make_instance: Make) -> None:
    scp = Scp(IMPLICIT)
    try:
        with sender(US, scp.peer, {(CT, str(JPEGBaseline8Bit)), ("1.2.3.4", EXPLICIT)}) as opened:
            assert opened.accepts(CT) == (IMPLICIT,)
            assert opened.accepts("1.2.3.4") == ()
            with pytest.raises(NotAcceptable):
                opened.store(CT, "1.2", str(JPEGBaseline8Bit), b"")
    finally:
        scp.server.shutdown()


@pytest.mark.parametrize("status", [0x0000, 0xA700, 0xB007, 0xC123, 0x0111])
def test_the_status_is_given_back(scp: Scp, make_instance: Make, status: int) -> None:
    scp.status = status
    with sender(US, scp.peer, {(CT, EXPLICIT)}) as opened:
        assert opened.store(CT, "1.2.3.1.1", EXPLICIT, encoded(make_instance(1))) == status
    assert is_stored(status) == (status not in (0xA700, 0xC123))


def test_nobody_there_and_wrong_titles(scp: Scp) -> None:
    with pytest.raises(Unavailable, match="not called so"):
        echo(US, Peer(name="x", ae_title="WRONG", port=scp.peer.port))
    with pytest.raises(Unavailable, match="could not be reached"):
        echo(US, Peer(name="x", ae_title="PEER", port=1))
    with pytest.raises(Unavailable, match="no AE title"):
        echo(US, Peer(name="x", url="http://127.0.0.1:1"))


@contextmanager
def saying(*answers: bytes) -> Iterator[Peer]:
    """A peer that answers the n-th thing it hears with the n-th text, then is silent for as long as we listen."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            for answer in answers:
                connection.recv(1 << 16)
                connection.sendall(answer)
            while connection.recv(1 << 16):
                pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield Peer(name="odd", ae_title="ODD", port=listener.getsockname()[1], timeout=0.3)
    finally:
        thread.join()
        listener.close()


ACCEPT = bytes.fromhex("0200") + struct.pack(">I", 68 + 4 + 4 + 4 + 17) + b"\0" * 68 + bytes.fromhex("2100001901000000")
ACCEPT += bytes.fromhex("40000011") + IMPLICIT.encode()


@pytest.mark.parametrize(
    "answers",
    [
        [],
        [b"HTTP/1.1 400 Bad Request\r\n\r\n"],
        [b"\2\0\0\0\0\1\0"],
        [struct.pack(">BBI", 2, 0, 0xFFFFFFFF)],
        [struct.pack(">BBI", 7, 0, 4) + b"\0\0\0\0"],
        [ACCEPT],
        [ACCEPT, struct.pack(">BBI", 5, 0, 4) + b"\0\0\0\0"],
        [ACCEPT, struct.pack(">BBIIBB", 4, 0, 6, 99, 1, 3)],
        [ACCEPT, struct.pack(">BBIIBB", 4, 0, 14, 10, 1, 3) + b"\xff" * 8],
        [ACCEPT, struct.pack(">BBIIBB", 4, 0, 16, 12, 1, 3) + struct.pack("<HHIH", 0, 0x0900, 1, 0)],
        [ACCEPT, struct.pack(">BBIIBB", 4, 0, 6, 2, 1, 3)],
    ],
)  # fmt: skip
def test_a_peer_that_misbehaves_is_an_error_that_is_tried_again(answers: list[bytes]) -> None:
    began = time.monotonic()
    with saying(*answers) as peer, pytest.raises(Unavailable):
        echo(US, peer)
    assert time.monotonic() - began < 5


def test_pairs_become_contexts_as_long_as_there_is_room() -> None:
    few = contexts({(CT, str(JPEGBaseline8Bit)), (CT, EXPLICIT)})
    assert [context.transfer_syntaxes for context in few] == [(EXPLICIT,), (str(JPEGBaseline8Bit),), (IMPLICIT,)]
    many = contexts({(f"1.2.{number}", EXPLICIT) for number in range(100)})
    assert len(many) == 100 and many[0].transfer_syntaxes == (EXPLICIT, IMPLICIT)
    with pytest.raises(NotAcceptable):
        contexts({(f"1.2.{number}", EXPLICIT) for number in range(129)})
    chosen = contexts({(CT, EXPLICIT)}, preferred=(str(JPEGBaseline8Bit),))
    assert [context.transfer_syntaxes for context in chosen] == [(str(JPEGBaseline8Bit),)]


@pytest.mark.peer
def test_dcmtk_takes_what_we_send(tmp_path: Path, make_instance: Make) -> None:
    port = free_port()
    process = subprocess.Popen(["storescp", "-od", str(tmp_path), "-aet", "DCMTK", "+xa", str(port)])
    peer = Peer(name="dcmtk", ae_title="DCMTK", port=port)
    try:
        _wait(peer)
        with sender(US, peer, {(CT, EXPLICIT)}) as opened:
            statuses = [
                opened.store(CT, f"1.2.3.1.{number}", EXPLICIT, encoded(make_instance(number)))
                for number in range(1, 6)
            ]
    finally:
        process.terminate()
        process.wait()
    assert statuses == [0] * 5
    files = sorted(tmp_path.iterdir())
    assert sorted(pydicom.dcmread(file).SOPInstanceUID for file in files) == [f"1.2.3.1.{n}" for n in range(1, 6)]
    first = pydicom.dcmread(BytesIO(make_instance(1)))
    assert next(found for found in map(pydicom.dcmread, files) if found.InstanceNumber == 1) == first


def _wait(peer: Peer) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            echo(US, peer)
        except HutongError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return
