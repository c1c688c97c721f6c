"""Protocol Data Units (PS3.8 9.3) besides A-ASSOCIATE: their headers, what we send, and what is wrong with one."""

import struct
from collections.abc import Iterator

from server.errors import BadRequest, Unavailable

#: PDU types (PS3.8 9.3.2 to 9.3.8).
ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)

#: PS3.8 table 9-26, reasons of the service provider.
NOT_SPECIFIED, UNRECOGNIZED_PDU, UNEXPECTED_PDU = 0, 1, 2
UNRECOGNIZED_PARAMETER, UNEXPECTED_PARAMETER, INVALID_PARAMETER = 4, 5, 6
#: PS3.8 table 9-26, sources.
SERVICE_USER, SERVICE_PROVIDER = 0, 2

#: Message control header (PS3.8 E.2): the fragment is of the command set; it is the last one.
COMMAND, LAST = 0x01, 0x02

#: PDU type, reserved byte, PDU length.
HEADER = struct.Struct(">BxI")
#: PDV item: length, presentation context ID, message control header (PS3.8 9.3.5.1).
PDV = struct.Struct(">IBB")

#: Bytes of the PDV list that we let a peer send in one P-DATA-TF PDU.
MAXIMUM_LENGTH = 1 << 18
#: Bytes that we put into one where the peer takes anything.
LONGEST_SENT = 1 << 17
#: Peers that take less in one PDU than this would turn an instance into a flood.
SHORTEST_TAKEN = 128


class ProtocolError(BadRequest):
    """What came is against PS3.7 or PS3.8; the association is aborted with source and reason."""

    def __init__(self, details: str, reason: int = INVALID_PARAMETER, *, source: int = SERVICE_PROVIDER) -> None:
        super().__init__(details)
        self.reason = reason
        self.source = source


class Ended(Unavailable):
    """The peer aborted, released or closed; nothing can be said to it any more."""


def check_header(kind: int, length: int, longest: int = MAXIMUM_LENGTH) -> None:
    """Raises ProtocolError unless an established association may receive such a PDU (PS3.8 table 9-10, Sta6)."""
    if kind in (ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, RELEASE_RP):
        raise ProtocolError(f"A PDU of type {kind} came on an established association.", UNEXPECTED_PDU)
    if kind not in (DATA, RELEASE_RQ, ABORT):
        raise ProtocolError(f"There is no PDU of type {kind}.", UNRECOGNIZED_PDU)
    if kind == DATA and not 6 <= length <= longest:
        raise ProtocolError(f"A P-DATA-TF PDU of {length} bytes came; at most {longest} were negotiated.")
    if kind != DATA and length != 4:
        raise ProtocolError(f"A PDU of type {kind} has {length} bytes instead of 4.")


def reject(result: int, source: int, reason: int) -> bytes:
    """A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return struct.pack(">BxIxBBB", ASSOCIATE_RJ, 4, result, source, reason)


def abort(source: int, reason: int) -> bytes:
    """A-ABORT (PS3.8 9.3.8)."""
    return struct.pack(">BxIxxBB", ABORT, 4, source, reason)


def release_response() -> bytes:
    """A-RELEASE-RP (PS3.8 9.3.7)."""
    return struct.pack(">BxI4x", RELEASE_RP, 4)


def message(context_id: int, command: bytes, data: bytes | memoryview, longest: int) -> Iterator[bytes]:
    """A DIMSE message as P-DATA-TF PDUs, fragments of at most ``longest`` bytes with their headers (PS3.8 annex E).

    ``longest`` is the peer's Maximum Length (PS3.8 D.1), 0 for none.
    """
    most = min(longest or LONGEST_SENT, LONGEST_SENT) - PDV.size
    head = _fragments(context_id, COMMAND, command, most)
    if len(data) <= most:
        # One write, so that neither Nagle nor a delayed acknowledgement comes between.
        yield b"".join([*head, *(_fragments(context_id, 0, data, most) if data else ())])
        return
    yield from head
    yield from _fragments(context_id, 0, data, most)


def _fragments(context_id: int, kind: int, value: bytes | memoryview, most: int) -> Iterator[bytes]:
    for at in range(0, len(value), most):
        piece = value[at : at + most]
        last = LAST if at + most >= len(value) else 0
        size = len(piece) + PDV.size
        yield b"".join([HEADER.pack(DATA, size), PDV.pack(len(piece) + 2, context_id, kind | last), piece])
