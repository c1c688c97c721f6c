"""Sessions with bytes turned, cut, doubled and swapped: the server answers or hangs up, and goes on for the others."""

import random
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from server.dimse.server import DimseServer
from tests.dimse import wire
from tests.dimse.wire import Wire, data, pdv

_SESSIONS = 1000


def session(file: bytes) -> list[bytes]:
    """What a well-behaved sender sends."""
    body = file[file.index(b"\x08\x00\x16\x00") :]
    return [
        wire.request(),
        data(pdv(1, 3, wire.echo(1))),
        data(pdv(3, 3, wire.store("1.2.3.1.1", 2))),
        data(pdv(3, 0, body[:200])),
        data(pdv(3, 2, body[200:])),
        data(pdv(1, 3, wire.echo(3))),
        b"\5\0\0\0\0\4\0\0\0\0",
    ]


def mutated(pdus: list[bytes], chance: random.Random) -> bytes:
    kept = list(pdus)
    for _turn in range(chance.randint(1, 3)):
        at = chance.randrange(len(kept))
        raw = bytearray(kept[at])
        kind = chance.randrange(6)
        if kind == 0 and raw:
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        elif kind == 1 and raw:
            raw[chance.randrange(min(len(raw), 90))] ^= 1 << chance.randrange(8)
        elif kind == 2:
            del raw[chance.randrange(len(raw) + 1) :]
        elif kind == 3:
            raw += bytes(raw)
        elif kind == 4:
            raw[2:6] = chance.randbytes(4)
        else:
            kept[at], kept[chance.randrange(len(kept))] = kept[chance.randrange(len(kept))], kept[at]
            continue
        kept[at] = bytes(raw)
    return b"".join(kept)


def test_mutants_of_a_session_harm_nobody(server: DimseServer, make_instance: Callable[..., bytes]) -> None:
    pdus, chance = session(make_instance()), random.Random(12)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with capture_logs() as logged:
        for _turn in range(_SESSIONS):
            with Wire(server.port) as caller:
                start = time.monotonic()
                try:
                    caller.send(mutated(pdus, chance))
                    caller.socket.shutdown(socket.SHUT_WR)
                except OSError:
                    continue
                while caller.pdu()[0]:
                    pass
                assert time.monotonic() - start < 5
    assert not [entry for entry in logged if entry["log_level"] == "error"]
    with Wire(server.port) as caller:
        caller.associate()
        assert caller.echo() == 0
        caller.release()
    deadline = time.monotonic() + 5
    while server._count() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server._count() == 0
    assert len(list(Path("/proc/self/fd").iterdir())) < descriptors + 20


@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_random_bytes_are_hung_up_on(server: DimseServer, size: int) -> None:
    chance = random.Random(size)
    for _turn in range(20):
        with Wire(server.port) as caller:
            try:
                caller.send(chance.randbytes(size))
                caller.socket.shutdown(socket.SHUT_WR)
            except OSError:
                continue
            assert caller.pdu()[0] in (0, 7)
