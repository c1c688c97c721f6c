"""Whatever a peer says, our side of the association ends with one of the house's errors and within its time."""

import contextlib
import socket
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from server.errors import HutongError
from server.outbound.dimse import pdu
from server.outbound.dimse.association import Association, decode_dataset
from server.outbound.dimse.entity import Entity
from server.outbound.dimse.pdu import Context
from server.settings import Peer

# pydicom tells of every oddity that it reads over.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
IMPLICIT = "1.2.840.10008.1.2"
VERIFICATION = "1.2.840.10008.1.1"


def item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(value)) + value


ACCEPT_BODY = (
    struct.pack(">HH", 1, 0) + b" " * 32 + b"\0" * 32
    + item(0x10, b"1.2.840.10008.3.1.1.1")
    + item(0x21, struct.pack(">BBBB", 1, 0, 0, 0) + item(0x40, IMPLICIT.encode()))
    + item(0x50, item(0x51, struct.pack(">I", 16384)) + item(0x54, b"\0\x08" + b"1.2.3.45" + b"\0\1"))
)  # fmt: skip
ACCEPT = struct.pack(">BBI", pdu.ASSOCIATE_AC, 0, len(ACCEPT_BODY)) + ACCEPT_BODY
# US Status 0000 in an N-less C-ECHO-RSP.
COMMAND = b"".join(
    struct.pack("<HHIH", 0, element, 2, value)
    for element, value in ((0x0100, 0x8030), (0x0120, 1), (0x0800, 0x0101), (0x0900, 0))
)
ANSWER = b"".join(pdu.data(1, [COMMAND], command=True, longest=16384))
GOOD = ACCEPT + ANSWER


def connected() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        return ours, listener.accept()[0]


def heard(said: bytes) -> int | None:
    """The status that we take from what a peer says; None where that is an error of the house's."""
    ours, theirs = connected()
    peer = Peer(name="odd", ae_title="ODD", timeout=0.2)
    context = Context(abstract_syntax=VERIFICATION, transfer_syntaxes=(IMPLICIT,))
    with ours, theirs:
        theirs.sendall(said)
        theirs.shutdown(socket.SHUT_WR)
        try:
            association = Association(peer, ours, [context])
            association.negotiate(Entity(title="HUTONG"))
            association.request(association.context(VERIFICATION), Dataset())
            return int(association.receive().command.get("Status", -1))
        except HutongError:
            return None


def test_the_example_is_understood() -> None:
    assert heard(GOOD) == 0


@given(at=st.integers(0, len(GOOD) - 1), replaced=st.binary(max_size=6), gone=st.integers(0, 6), cut=st.integers(0, 40))
@settings(max_examples=400)
def test_damaged_answers(at: int, replaced: bytes, gone: int, cut: int) -> None:
    said = GOOD[:at] + replaced + GOOD[at + gone :]
    heard(said[: len(said) - cut])


@given(said=st.binary(max_size=300))
def test_noise(said: bytes) -> None:
    heard(said)
    heard(ACCEPT + said)
    heard(ACCEPT + struct.pack(">BBI", pdu.DATA, 0, len(said)) + said)


@given(data=st.binary(max_size=200), syntax=st.sampled_from([IMPLICIT, "1.2.840.10008.1.2.1"]))
def test_noise_is_no_data_set_or_one_that_can_be_read(data: bytes, syntax: str) -> None:
    with contextlib.suppress(ValueError):
        str(decode_dataset(data, syntax))


@given(chunks=st.lists(st.binary(max_size=50), max_size=8), longest=st.integers(1, 60), command=st.booleans())
def test_fragments_add_up_to_what_was_sent(chunks: list[bytes], longest: int, command: bool) -> None:
    pdus = list(pdu.data(3, chunks, command=command, longest=longest))
    assert all(len(one) - 6 <= max(longest, 16) for one in pdus)
    found = [part for one in pdus for part in pdu.fragments(one[6:])]
    assert b"".join(value for *_, value in found) == b"".join(chunks)
    assert [(context, is_command) for context, is_command, *_ in found] == [(3, command)] * len(found)
    assert [is_last for _, _, is_last, _ in found] == [False] * (len(found) - 1) + [True]
