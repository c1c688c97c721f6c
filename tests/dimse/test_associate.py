"""A-ASSOCIATE PDUs: whatever comes, the reader gives a request or a ProtocolError; an acceptance reads back."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.pdu import A_ASSOCIATE_AC

from server.dimse.associate import Answer, Identity, Role, read_request, write_acceptance
from server.dimse.pdu import ProtocolError
from tests.dimse.wire import CT, EXPLICIT, IMPLICIT, VERIFICATION, context, item, request

SOUND = request(
    user=item(0x53, struct.pack(">HH", 5, 6))
    + item(0x54, struct.pack(">H", len(CT)) + CT.encode() + b"\0\1")
    + item(0x55, b"VERSION_1")
    + item(0x56, struct.pack(">H", 5) + b"1.2.3" + b"\1\1\0")
    + item(0x57, struct.pack(">H", 5) + b"1.2.4" + struct.pack(">H", 17) + b"1.2.840.10008.4.2" + b"\0\0")
    + item(0x58, b"\2\1" + struct.pack(">H", 3) + b"who" + struct.pack(">H", 4) + b"pass")
)[6:]


def test_every_item_is_read() -> None:
    found = read_request(SOUND)
    assert (found.called, found.calling, found.protocol_version) == ("HUTONG", "RAW", 1)
    assert [(one.context_id, one.abstract_syntax, one.transfer_syntaxes) for one in found.contexts] == [
        (1, VERIFICATION, (IMPLICIT,)),
        (3, CT, (EXPLICIT,)),
    ]
    user = found.user
    assert (user.maximum_length, user.window, user.implementation_version) == (16384, (5, 6), "VERSION_1")
    assert user.roles == {CT: Role(scu=False, scp=True)}
    assert user.extended == {"1.2.3": b"\1\1\0"}
    assert user.service_classes == {"1.2.4": "1.2.840.10008.4.2"}
    assert user.identity == Identity(kind=2, response=True, primary=b"who", secondary=b"pass")


def test_items_of_unknown_type_are_skipped() -> None:
    assert read_request(SOUND + item(0x99, b"later edition")) == read_request(SOUND)


@pytest.mark.parametrize("end", range(len(SOUND)))
def test_a_request_that_was_cut_off_is_refused_or_lacks_only_whole_items(end: int) -> None:
    try:
        found = read_request(SOUND[:end])
    except ProtocolError:
        return
    assert found.contexts and end >= 68


@pytest.mark.parametrize(
    "contexts",
    [
        b"",
        context(2, CT, [EXPLICIT]),
        context(1, CT, []),
        context(1, CT, [EXPLICIT]) + context(1, VERIFICATION, [EXPLICIT]),
        item(0x20, b"\1\0"),
        item(0x20, b"\1\0\0\0" + item(0x40, EXPLICIT.encode())),
        context(1, "1" * 66, [EXPLICIT]),
    ],
    ids=["none", "even", "no-syntax", "twice", "short", "no-abstract", "long-uid"],
)
def test_odd_contexts_are_refused(contexts: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_request(SOUND[:68] + contexts + item(0x50, b""))


@given(st.binary(max_size=400))
def test_any_bytes_give_a_request_or_a_protocol_error(raw: bytes) -> None:
    for body in (raw, SOUND[:68] + raw):
        try:
            read_request(body)
        except ProtocolError:
            continue


@given(st.data())
def test_mutants_of_a_sound_request_give_a_request_or_a_protocol_error(draw: st.DataObject) -> None:
    raw = bytearray(SOUND)
    for _ in range(draw.draw(st.integers(1, 4))):
        raw[draw.draw(st.integers(0, len(raw) - 1))] = draw.draw(st.integers(0, 255))
    try:
        read_request(bytes(raw))
    except ProtocolError:
        return


def test_an_acceptance_is_read_by_another_implementation() -> None:
    sound = read_request(SOUND)
    answers = (
        Answer(context_id=1, result=0, transfer_syntax=IMPLICIT),
        Answer(context_id=3, result=4, transfer_syntax="1.2"),
    )
    pdu = A_ASSOCIATE_AC()
    pdu.decode(write_acceptance(sound, answers, item(0x51, struct.pack(">I", 77)) + item(0x52, b"1.2.3")))
    assert [(one.context_id, one.result) for one in pdu.presentation_context] == [(1, 0), (3, 4)]
    assert pdu.reserved_aet.strip() == "HUTONG" and pdu.reserved_aec.strip() == "RAW"
    assert pdu.user_information.maximum_length == 77
