"""However a message is cut into fragments, PDUs and TCP segments, it comes out whole; anything else ends in order."""

import struct
from collections.abc import Iterator
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.dimse import pdu
from server.dimse.connection import Connection
from server.dimse.pdu import Ended, ProtocolError
from server.dimse.stream import Released, Stream
from tests.dimse.wire import data, pdv


class Segments:
    """A connection on which bytes arrive in segments of the sizes given, then of one byte."""

    def __init__(self, raw: bytes, sizes: list[int]) -> None:
        self.raw = raw
        self.sizes: Iterator[int] = iter(sizes)

    def receive_into(self, view: memoryview) -> int:
        if not self.raw:
            raise Ended("closed")
        piece = self.raw[: min(next(self.sizes, 1), len(view))]
        view[: len(piece)] = piece
        self.raw = self.raw[len(piece) :]
        return len(piece)

    def readable(self, seconds: float) -> bool:
        return bool(self.raw)


def stream(raw: bytes, sizes: list[int]) -> Stream:
    made = Stream(cast(Connection, Segments(raw, sizes)))
    made.open()
    return made


def fragments(draw: st.DataObject, kind: int, value: bytes) -> list[bytes]:
    """``value`` as PDVs of context 3, empty ones among them."""
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(value)), max_size=5)))
    parts = [value[start:end] for start, end in zip([0, *cuts], [*cuts, len(value)], strict=True)]
    return [
        pdv(3, kind | (2 if part is parts[-1] and at == len(parts) - 1 else 0), part) for at, part in enumerate(parts)
    ]


def pdus(draw: st.DataObject, values: list[bytes]) -> bytes:
    """The PDVs in PDUs, one or several in each."""
    raw, waiting = b"", list[bytes]()
    for value in values:
        waiting.append(value)
        if draw.draw(st.booleans()):
            raw += data(*waiting)
            waiting = []
    return raw + (data(*waiting) if waiting else b"")


SIZES = st.lists(st.integers(1, 60), max_size=40)


@given(st.data(), st.binary(min_size=1, max_size=80), st.binary(max_size=200), SIZES)
def test_a_message_comes_out_whole(draw: st.DataObject, head: bytes, body: bytes, sizes: list[int]) -> None:
    values = fragments(draw, 1, head) + fragments(draw, 0, body) + [pdv(5, 3, b"next")]
    found = stream(pdus(draw, values) + struct.pack(">BxI4x", 5, 4), sizes)
    assert found.command() == (3, head)
    assert b"".join(bytes(piece) for piece in found.data(3)) == body
    assert found.command() == (5, b"next")
    assert found.waits(0)
    with pytest.raises(Released):
        found.command()


@given(st.binary(max_size=120), SIZES)
def test_any_bytes_end_in_order(raw: bytes, sizes: list[int]) -> None:
    for candidate in (raw, data(pdv(1, 3, b"abcd"))[:8] + raw, data(pdv(1, 1, raw)) + raw):
        found = stream(candidate, sizes)
        with pytest.raises((ProtocolError, Ended)):
            for _turn in range(300):
                context_id, _encoded = found.command()
                for _piece in found.data(context_id):
                    pass


def test_empty_fragments_take_no_memory() -> None:
    found = stream(data(*[pdv(1, 1, b"")] * 20_000, pdv(1, 3, b"x")), [1 << 18] * 4)
    assert found.command() == (1, b"x")


def test_a_pdu_of_the_greatest_length_is_taken_and_a_longer_one_is_not() -> None:
    longest = pdv(1, 3, bytes(pdu.MAXIMUM_LENGTH - 6))
    with pytest.raises(ProtocolError, match="command set"):
        stream(data(longest), [1 << 20] * 8).command()
    with pytest.raises(ProtocolError, match="negotiated"):
        stream(data(longest + b"x"), [1 << 20] * 8).command()


def test_a_stream_is_idle_between_messages_only() -> None:
    found = stream(data(pdv(1, 3, b"abcd")), [1 << 10])
    assert found.command() == (1, b"abcd") and found.idle() and not found.waits(0)
    found = stream(data(pdv(1, 3, b"abcd"), pdv(1, 3, b"efgh")), [1 << 10])
    assert found.command() == (1, b"abcd") and not found.idle() and found.waits(0)
