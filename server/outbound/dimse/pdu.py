"""Protocol data units of the DICOM upper layer (PS3.8 9.3), as an association's requestor writes and reads them."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
#: DICOM Application Context Name (PS3.7 annex A.2.1).
_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
#: Longest PDU that we take, as we say in the request, bytes.
MAXIMUM_LENGTH = 1 << 17
#: Most presentation contexts of one association: their ids are the odd numbers below 256 (PS3.8 9.3.2.2).
MOST_CONTEXTS = 128
#: PS3.8 table 9-21: (source, reason) of a rejection.
_REASONS = {
    (1, 1): "it gave no reason",
    (1, 2): "it does not know DICOM's application context",
    (1, 3): "it does not know our AE title; enter it there",
    (1, 7): "it is not called so; check its AE title in the settings",
    (2, 1): "it gave no reason",
    (2, 2): "it speaks another version of the protocol",
    (3, 1): "it is congested",
    (3, 2): "it has as many associations as it takes",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """A presentation context that we propose (PS3.8 9.3.2.2)."""

    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]
    #: Whether we would be the SCP in it (PS3.7 D.3.3.4), for C-GET's storage.
    as_scp: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """What an A-ASSOCIATE-AC says."""

    #: Context id -> transfer syntax, of the contexts that were accepted.
    contexts: dict[int, str]
    #: Longest PDU that the peer takes; 0 for any.
    maximum_length: int
    #: SOP classes in which the peer agreed to our being SCP.
    scp_of: frozenset[str]


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(value)) + value


def _title(text: str) -> bytes:
    return text.encode("ascii", "replace")[:16].ljust(16)


def associate_rq(
    called: str, calling: str, contexts: Sequence[Context], *, implementation: tuple[str, str] = ("", "")
) -> bytes:
    """A-ASSOCIATE-RQ (PS3.8 9.3.2); the contexts get the ids 1, 3, 5 ... in their order."""
    items = [_item(0x10, _APPLICATION_CONTEXT.encode("ascii"))]
    for number, context in enumerate(contexts):
        syntaxes = b"".join(_item(0x40, syntax.encode("ascii")) for syntax in context.transfer_syntaxes)
        value = struct.pack(">BBBB", 2 * number + 1, 0, 0, 0)
        items.append(_item(0x20, value + _item(0x30, context.abstract_syntax.encode("ascii")) + syntaxes))
    user = [_item(0x51, struct.pack(">I", MAXIMUM_LENGTH))]
    uid, version = implementation
    if uid:
        user += [_item(0x52, uid.encode("ascii")), _item(0x55, version.encode("ascii")[:16])]
    for sop_class in sorted({context.abstract_syntax for context in contexts if context.as_scp}):
        name = sop_class.encode("ascii")
        user.append(_item(0x54, struct.pack(">H", len(name)) + name + b"\0\1"))
    items.append(_item(0x50, b"".join(user)))
    body = struct.pack(">HH", 1, 0) + _title(called) + _title(calling) + b"\0" * 32 + b"".join(items)
    return struct.pack(">BBI", ASSOCIATE_RQ, 0, len(body)) + body


def _items(value: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(value):
        kind, _, length = struct.unpack_from(">BBH", value, at)
        yield kind, value[at + 4 : at + 4 + length]
        at += 4 + length


def associate_ac(body: bytes) -> Accepted:
    """What the peer accepted (PS3.8 9.3.3); raises ValueError or struct.error where it is malformed."""
    if len(body) < 68:
        raise ValueError("an A-ASSOCIATE-AC has 68 bytes before its items")
    contexts: dict[int, str] = {}
    maximum, scp_of = 0, set[str]()
    for kind, value in _items(body[68:]):
        if kind == 0x21 and len(value) > 4 and value[2] == 0:
            contexts[value[0]] = next(text.decode("ascii").strip("\0 ") for _, text in _items(value[4:]))
        elif kind == 0x50:
            for inner, text in _items(value):
                if inner == 0x51:
                    (maximum,) = struct.unpack(">I", text)
                elif inner == 0x54 and text[-1:] == b"\1":
                    scp_of.add(text[2:-2].decode("ascii").strip("\0 "))
    return Accepted(contexts=contexts, maximum_length=maximum, scp_of=frozenset(scp_of))


def rejection(body: bytes) -> str:
    """Why an association was rejected (PS3.8 9.3.4), in words."""
    return _REASONS.get((body[2], body[3]), "it gave no reason") if len(body) >= 4 else "it gave no reason"


def data(context: int, chunks: Iterable[bytes | memoryview], *, command: bool, longest: int) -> Iterator[bytes]:
    """P-DATA-TF PDUs (PS3.8 9.3.5) of one fragment each; ``longest`` is what the peer takes in one."""
    room = max(longest, 16) - 6
    pending: bytes | memoryview = b""
    for chunk in chunks:
        view = memoryview(b"".join((pending, chunk)) if pending else chunk)
        at = 0
        # A fragment is sent when it is known not to be the last.
        while len(view) - at > room:
            yield _fragment(context, view[at : at + room], command=command, last=False)
            at += room
        pending = view[at:]
    yield _fragment(context, pending, command=command, last=True)


def _fragment(context: int, value: bytes | memoryview, *, command: bool, last: bool) -> bytes:
    """One PDV in its PDU; the message control header is PS3.8 annex E.2."""
    size = len(value)
    head = struct.pack(">BBIIBB", DATA, 0, size + 6, size + 2, context, command | last << 1)
    return b"".join((head, value))


def fragments(body: bytes) -> Iterator[tuple[int, bool, bool, memoryview]]:
    """(context, is command, is last, value) of each PDV in a P-DATA-TF's body; raises ValueError where it lies."""
    view, at = memoryview(body), 0
    while at < len(view):
        if at + 6 > len(view):
            raise ValueError("a PDV ends early")
        length, context, control = struct.unpack_from(">IBB", view, at)
        if length < 2 or at + 4 + length > len(view):
            raise ValueError("a PDV's length is wrong")
        yield context, bool(control & 1), bool(control & 2), view[at + 6 : at + 4 + length]
        at += 4 + length


RELEASE_REQUEST = struct.pack(">BBII", RELEASE_RQ, 0, 4, 0)
RELEASE_RESPONSE = struct.pack(">BBII", RELEASE_RP, 0, 4, 0)
#: By the service user, without a reason (PS3.8 9.3.8).
ABORT_REQUEST = struct.pack(">BBII", ABORT, 0, 4, 0)
