"""Command sets and P-DATA-TF PDUs: what is written reads back by another implementation, what is odd is refused."""

import struct
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pynetdicom.dsutils import decode

from server.dimse import message, pdu
from server.dimse.message import read_command
from server.dimse.pdu import ProtocolError
from tests.dimse.wire import CT, IMPLICIT, command, echo, store


def test_a_request_is_read() -> None:
    found = read_command(store("1.2.3", 9))
    assert (found.field, found.message_id, found.has_data) == (1, 9, True)
    assert (found.sop_class, found.sop_instance) == (CT, "1.2.3")
    assert found.dataset().AffectedSOPInstanceUID == "1.2.3"


def test_a_response_is_read_by_another_implementation() -> None:
    more = {"NumberOfRemainingSuboperations": 3, "OffendingElement": [0x00100020], "AffectedSOPInstanceUID": "1.2.9"}
    asked = read_command(command({0x0003: CT, 0x0100: 0x0130, 0x0110: 7, 0x0800: 1, 0x1001: "1.2.3", 0x1008: 1}))
    encoded = message.response(asked, 0xA900, comment="a\\b" + "x" * 80, has_data=True, more=more)
    answer = decode(BytesIO(encoded), True, True)
    assert answer.CommandGroupLength == len(encoded) - 12
    assert (answer.CommandField, answer.MessageIDBeingRespondedTo, answer.Status) == (0x8130, 7, 0xA900)
    assert (answer.AffectedSOPClassUID, answer.AffectedSOPInstanceUID) == (CT, "1.2.9")
    assert answer.ActionTypeID == 1 and answer.NumberOfRemainingSuboperations == 3
    assert answer.OffendingElement == 0x00100020 and answer.CommandDataSetType == 1
    assert answer.ErrorComment == "a/b" + "x" * 61
    assert [element.tag for element in answer] == sorted(element.tag for element in answer)


@pytest.mark.parametrize(
    "raw",
    [
        echo()[:-3],
        echo() + echo(),
        struct.pack("<HHI", 8, 0x18, 2) + b"1\0",
        struct.pack("<HHI", 0, 2, 1 << 31) + b"x",
    ],
    ids=["cut", "twice", "group", "length"],
)
def test_odd_command_sets_are_refused(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_command(raw)


def test_a_missing_or_mistyped_element_is_refused() -> None:
    with pytest.raises(ProtocolError):
        _ = read_command(command({0x0100: 0x30})).message_id
    with pytest.raises(ProtocolError):
        _ = read_command(command({0x0100: b"\x30\0\0\0"})).field


@given(st.binary(max_size=200))
def test_any_bytes_give_a_command_or_a_protocol_error(raw: bytes) -> None:
    for candidate in (raw, echo() + raw, store("1.2.3")[:20] + raw):
        try:
            found = read_command(candidate)
            found.dataset()
            _ = found.sop_class, found.sop_instance, found.field
        except ProtocolError:
            continue


@given(st.binary(min_size=1, max_size=300), st.binary(max_size=900), st.sampled_from([0, 128, 200, 1 << 20]))
def test_a_message_comes_apart_into_its_fragments(head: bytes, body: bytes, longest: int) -> None:
    sent = b"".join(pdu.message(5, head, body, longest))
    found, at = {0: b"", 1: b""}, 0
    last = []
    while at < len(sent):
        kind, length = pdu.HEADER.unpack_from(sent, at)
        size, context_id, control = pdu.PDV.unpack_from(sent, at + 6)
        assert kind == pdu.DATA and size == length - 4 and context_id == 5
        assert not longest or length <= longest
        found[control & 1] += sent[at + 12 : at + 6 + length]
        last.append((control & 1, bool(control & 2)))
        at += 6 + length
    assert (found[1], found[0]) == (head, body)
    assert [one for one, is_last in last if is_last] == ([1, 0] if body else [1])
    assert [one for one, _is_last in last] == sorted((one for one, _is_last in last), reverse=True)


def test_a_data_set_is_written_in_every_native_syntax() -> None:
    dataset = Dataset()
    dataset.PatientID = "P1"
    for syntax, implicit, little, deflated in (
        (IMPLICIT, True, True, False),
        ("1.2.840.10008.1.2.1", False, True, False),
        ("1.2.840.10008.1.2.1.99", False, True, True),
        ("1.2.840.10008.1.2.2", False, False, False),
    ):
        encoded = message.encode(dataset, syntax)
        assert len(encoded) % 2 == 0
        assert decode(BytesIO(encoded), implicit, little, deflated).PatientID == "P1"
