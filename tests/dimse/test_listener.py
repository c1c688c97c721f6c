"""The listener: who waits costs no thread, shuts nobody out and does not stay; who may not call is told why."""

import resource
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from server.dimse import knocking, listener
from server.dimse import server as scp
from server.dimse.server import DimseServer
from server.imaging.ingest import Ingest
from server.settings import Peer, Settings
from tests.dimse import wire
from tests.dimse.wire import CT, EXPLICIT, IMPLICIT, VERIFICATION, Wire, item


def echo_seconds(port: int) -> float:
    start = time.monotonic()
    with Wire(port) as caller:
        caller.associate()
        assert caller.echo() == 0
        caller.release()
    return time.monotonic() - start


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert true()


def threads() -> int:
    return sum(one.name == "dimse-association" for one in threading.enumerate())


@pytest.fixture
def crowd() -> Iterator[ExitStack]:
    """Closes what is entered."""
    with ExitStack() as stack:
        yield stack


def test_a_crowd_of_silent_and_trickling_sockets_and_idle_associations_delays_nobody(
    server: DimseServer, crowd: ExitStack
) -> None:
    call = wire.request()
    sockets = [crowd.enter_context(Wire(server.port)) for _ in range(1000)]
    idle = [crowd.enter_context(Wire(server.port)) for _ in range(50)]
    for one in idle:
        one.associate()
    waits = []
    for turn in range(20):
        for one in sockets[::2]:
            one.send(call[turn : turn + 1])
        waits.append(echo_seconds(server.port))
    assert sorted(waits)[18] < 1.0
    wait_until(lambda: threads() == 0)
    assert [one.echo() for one in idle] == [0] * 50


def test_a_call_in_single_bytes_is_heard(server: DimseServer) -> None:
    with Wire(server.port) as caller:
        call = wire.request()
        for at in range(len(call)):
            caller.send(call[at : at + 1])
        assert caller.pdu()[0] == 2
        assert caller.echo() == 0


def test_who_does_not_call_in_time_is_closed(server: DimseServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knocking, "ARTIM_SECONDS", 0.3)
    with Wire(server.port) as silent, Wire(server.port) as slow:
        slow.send(wire.request()[:100])
        assert silent.pdu()[0] == 0 and slow.pdu()[0] == 0


def test_the_oldest_silent_one_makes_room(server: DimseServer, crowd: ExitStack) -> None:
    assert server._listener is not None
    server._listener._knocks._most = 10
    silent = [crowd.enter_context(Wire(server.port)) for _ in range(25)]
    assert echo_seconds(server.port) < 1.0
    assert silent[0].pdu()[0] == 0
    silent[-1].associate()
    assert silent[-1].echo() == 0


_MANY = """
import sys, time
from tests.dimse.wire import Wire
port = int(sys.stdin.readline())
held = [Wire(port) for _ in range(60)]
time.sleep(0.3)
with Wire(port) as caller:
    caller.associate()
    print(caller.echo())
"""


def test_where_descriptors_end_a_caller_takes_the_place_of_a_silent_one(server: DimseServer) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", _MANY], text=True, cwd=Path(__file__).parents[2], **pipes) as other:
        used = len(list(Path("/proc/self/fd").iterdir()))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, hard))
        try:
            said, _errors = other.communicate(f"{server.port}\n", timeout=30)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert said.strip() == "0"


def test_an_idle_association_is_aborted_in_the_end(server: DimseServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "IDLE_SECONDS", 0.5)
    with Wire(server.port) as idle:
        idle.associate()
        assert idle.aborted() == (2, 0)


def test_a_connection_that_its_peer_does_not_close_is_closed(
    server: DimseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "CLOSING_SECONDS", 0.3)
    with Wire(server.port) as caller:
        caller.associate()
        caller.send(struct.pack(">BxI4x", 5, 4))
        assert caller.pdu()[0] == 6
        # What comes after the release is ignored (Sta13).
        caller.send(b"more")
        assert caller.pdu()[0] == 0


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", (2, 1)),
        (struct.pack(">BxI4x", 5, 4), (2, 2)),
        (struct.pack(">BxI", 4, 100), (2, 2)),
        (struct.pack(">BxI", 1, 1 << 31), (2, 6)),
        (struct.pack(">BxI", 1, 10) + bytes(10), (2, 6)),
        (struct.pack(">BxI", 1, 80) + bytes(80), (2, 6)),
    ],
    ids=["http", "release", "data", "endless", "short", "zeros"],
)
def test_a_first_pdu_that_is_no_sound_call_is_aborted(server: DimseServer, raw: bytes, reason: tuple[int, int]) -> None:
    with Wire(server.port) as caller:
        caller.send(raw)
        assert caller.aborted() == reason
    assert echo_seconds(server.port) < 1.0


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (wire.request(called="OTHER"), b"\0\1\1\7"),
        (wire.request(calling=""), b"\0\1\1\3"),
        (wire.request(calling="BAD\x07"), b"\0\1\1\3"),
        (wire.request(version=2), b"\0\1\2\2"),
        (wire.request(application=b"1.2.3"), b"\0\1\1\2"),
        (wire.request(longest=20), b"\0\1\1\1"),
    ],
    ids=["called", "no calling", "bad calling", "version", "context", "length"],
)
def test_a_rejection_says_why(server: DimseServer, call: bytes, reason: bytes) -> None:
    with Wire(server.port) as caller:
        caller.send(call)
        assert caller.pdu() == (3, reason)


def test_more_associations_than_there_is_room_for_are_put_off(
    server: DimseServer, monkeypatch: pytest.MonkeyPatch, crowd: ExitStack
) -> None:
    monkeypatch.setattr(scp, "MOST_ASSOCIATIONS", 3)
    held = [crowd.enter_context(Wire(server.port)) for _ in range(3)]
    for one in held:
        one.associate()
    with Wire(server.port) as caller:
        caller.send(wire.request())
        assert caller.pdu() == (3, b"\0\2\3\2")
    held[0].release()
    assert echo_seconds(server.port) < 1.0


@pytest.mark.parametrize("limit", ["MOST_ASSOCIATIONS", "MOST_OF_ONE_ADDRESS"])
def test_an_association_that_is_long_idle_makes_room(
    server: DimseServer, monkeypatch: pytest.MonkeyPatch, crowd: ExitStack, limit: str
) -> None:
    monkeypatch.setattr(scp, limit, 3)
    monkeypatch.setattr(listener, "YIELDING_SECONDS", 0.3)
    assert server._listener is not None
    held = [crowd.enter_context(Wire(server.port)) for _ in range(3)]
    for number, one in enumerate(held, 1):
        one.associate()
        wait_until(lambda count=number: len(server._listener._parked) == count)
    time.sleep(0.5)
    assert echo_seconds(server.port) < 1.0
    assert held[0].aborted() == (2, 0)
    assert [one.echo() for one in held[1:]] == [0, 0]


def test_a_context_that_is_not_offered_is_rejected_and_the_others_work(server: DimseServer) -> None:
    with Wire(server.port) as caller:
        body = caller.associate(wire.request([(1, VERIFICATION, [IMPLICIT]), (3, "1.2.3", [IMPLICIT])]))
        assert item(0x21, b"\3\0\3\0" + item(0x40, IMPLICIT.encode())) in body
        assert caller.echo() == 0


def test_a_peer_that_has_not_the_service_is_told_so(settings: Settings, ingest: Ingest) -> None:
    peers = (Peer(name="a", ae_title="RAW", host="127.0.0.1", services=("echo", "get")),)
    guarded = DimseServer(replace(settings, host="0.0.0.0", dimse_port=0, peers=peers), ingest)
    guarded.start()
    role = item(0x54, struct.pack(">H", len(CT)) + CT.encode() + b"\1\1")
    with Wire(guarded.port) as caller:
        body = caller.associate(wire.request([(1, VERIFICATION, [IMPLICIT]), (3, CT, [EXPLICIT])], user=role))
        assert role in body
        caller.send(wire.data(wire.pdv(3, 3, wire.store("1.2.3")), wire.pdv(3, 2, b"abcd")))
        assert caller.status() == 0x0124
        assert caller.echo() == 0
    guarded.stop()


def test_an_address_that_is_nobodys_is_not_listened_to(settings: Settings, ingest: Ingest) -> None:
    peers = (Peer(name="far", ae_title="FAR", host="192.0.2.1"),)
    guarded = DimseServer(replace(settings, host="0.0.0.0", dimse_port=0, peers=peers), ingest)
    guarded.start()
    with Wire(guarded.port) as caller:
        assert caller.pdu()[0] == 0
    guarded.stop()


def test_draining_lets_running_associations_finish_and_takes_no_new_one(server: DimseServer) -> None:
    with Wire(server.port) as caller, Wire(server.port) as silent:
        caller.associate()
        port = server.port
        ending = threading.Thread(target=server.drain, args=(5.0,))
        start = time.monotonic()
        ending.start()
        assert silent.pdu()[0] == 0
        assert caller.echo() == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
        caller.release()
        ending.join()
        assert time.monotonic() - start < 3


def test_draining_does_not_wait_for_an_idle_association(server: DimseServer) -> None:
    with Wire(server.port) as idle:
        idle.associate()
        start = time.monotonic()
        server.drain(10.0)
        assert time.monotonic() - start < 4
        assert idle.aborted() == (2, 0)
