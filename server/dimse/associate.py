"""A-ASSOCIATE-RQ and A-ASSOCIATE-AC (PS3.8 9.3.2, 9.3.3, annex D; PS3.7 annex D): a strict reader and a writer.

Every length is checked against the bytes that are there before anything is read by it. Items of a type that is not
known are skipped, as PS3.8 9.3.1 wants it; whatever else is odd raises ProtocolError.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from server.dimse.pdu import ASSOCIATE_AC, UNEXPECTED_PARAMETER, ProtocolError

#: The DICOM Application Context Name (PS3.7 A.2.1).
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
#: Where the variable items start in the PDU's body.
_FIXED = 68
#: What a peer that names no Maximum Length is sent at most in one PDU.
_DEFAULT_LENGTH = 16384
_LONGEST_UID = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposed:
    """One presentation context of a request (PS3.8 9.3.2.2)."""

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Role:
    """SCP/SCU role selection (PS3.7 D.3.3.4): what the requestor may be."""

    scu: bool
    scp: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """User identity negotiation (PS3.7 D.3.3.7)."""

    #: 1 user name, 2 user name and passcode, 3 Kerberos, 4 SAML, 5 JSON web token.
    kind: int
    #: Whether the requestor wants a positive response.
    response: bool
    primary: bytes
    secondary: bytes


@dataclass(kw_only=True, slots=True)
class User:
    """The user information of a request (PS3.7 D.3.3), as its items name it."""

    maximum_length: int = _DEFAULT_LENGTH
    implementation_class: str = ""
    implementation_version: str = ""
    #: Operations invoked and performed at a time; None where they are not negotiated.
    window: tuple[int, int] | None = None
    roles: dict[str, Role] = field(default_factory=dict)
    #: Service-class application information by SOP class.
    extended: dict[str, bytes] = field(default_factory=dict)
    #: Service class UID by SOP class, from common extended negotiation.
    service_classes: dict[str, str] = field(default_factory=dict)
    identity: Identity | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AssociateRequest:
    """An A-ASSOCIATE-RQ."""

    protocol_version: int
    #: The AE title fields as they came: an acceptance repeats them.
    titles: bytes
    called: str
    calling: str
    application_context: str
    contexts: tuple[Proposed, ...]
    user: User


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One presentation context of an acceptance (PS3.8 9.3.3.2)."""

    context_id: int
    #: 0 acceptance, 1 user rejection, 2 no reason, 3 abstract syntax, 4 transfer syntaxes not supported.
    result: int
    transfer_syntax: str


def read_request(body: bytes) -> AssociateRequest:
    """The request in the body of an A-ASSOCIATE-RQ PDU; raises ProtocolError."""
    if len(body) < _FIXED:
        raise ProtocolError(f"An A-ASSOCIATE-RQ of {len(body)} bytes is too short.")
    application, contexts, user = "", dict[int, Proposed](), None
    for kind, value in _items(body[_FIXED:]):
        if kind == 0x10:
            application = _text(value)
        elif kind == 0x20:
            context = _context(value)
            if context.context_id in contexts:
                raise ProtocolError(f"The presentation context {context.context_id} is proposed twice.")
            contexts[context.context_id] = context
        elif kind == 0x50:
            if user is not None:
                raise ProtocolError("There are two user information items.", UNEXPECTED_PARAMETER)
            user = _user(value)
    if not contexts:
        raise ProtocolError("No presentation context is proposed.")
    return AssociateRequest(
        protocol_version=int.from_bytes(body[:2], "big"),
        titles=body[4:36],
        called=_title(body[4:20]),
        calling=_title(body[20:36]),
        application_context=application,
        contexts=tuple(contexts.values()),
        user=user or User(),
    )


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The items or sub-items in ``data``: type, and value of the declared length."""
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise ProtocolError("An item ends inside its header.")
        kind, length = struct.unpack_from(">BxH", data, at)
        at += 4
        if at + length > len(data):
            raise ProtocolError(f"An item of type {kind:02X} declares {length} bytes, but {len(data) - at} follow.")
        yield kind, data[at : at + length]
        at += length


def _text(value: bytes) -> str:
    """A UID or name without its padding; what is no ASCII matches nothing."""
    return value.decode("ascii", "replace").strip("\0 ")


def _uid(value: bytes) -> str:
    if len(value) > _LONGEST_UID + 1:
        raise ProtocolError(f"A UID of {len(value)} characters; they have {_LONGEST_UID} at most.")
    return _text(value)


def _title(field_value: bytes) -> str:
    """An AE title (PS3.5 6.2); empty where it is none, so that it matches nothing."""
    title = field_value.decode("ascii", "replace").strip(" \0")
    return title if title.isascii() and title.isprintable() and "\\" not in title else ""


def _context(value: bytes) -> Proposed:
    if len(value) < 4:
        raise ProtocolError("A presentation context item ends early.")
    context_id = value[0]
    if context_id % 2 == 0:
        raise ProtocolError(f"The presentation context ID {context_id} is even.")
    abstract, transfer = list[str](), list[str]()
    for kind, inner in _items(value[4:]):
        if kind == 0x30:
            abstract.append(_uid(inner))
        elif kind == 0x40:
            transfer.append(_uid(inner))
    if len(abstract) != 1 or not transfer:
        raise ProtocolError(f"The presentation context {context_id} needs one abstract and some transfer syntax.")
    return Proposed(context_id=context_id, abstract_syntax=abstract[0], transfer_syntaxes=tuple(transfer))


def _user(value: bytes) -> User:
    user = User()
    for kind, inner in _items(value):
        match kind:
            case 0x51:
                user.maximum_length = _number(inner, 4, "Maximum Length")
            case 0x52:
                user.implementation_class = _uid(inner)
            case 0x53:
                both = _number(inner, 4, "Asynchronous Operations Window")
                user.window = both >> 16, both & 0xFFFF
            case 0x54:
                name, rest = _named(inner)
                both = _number(rest, 2, "SCP/SCU Role Selection")
                user.roles[name] = Role(scu=both >> 8 == 1, scp=both & 0xFF == 1)
            case 0x55:
                user.implementation_version = _text(inner)[:16]
            case 0x56:
                name, rest = _named(inner)
                user.extended[name] = rest
            case 0x57:
                name, rest = _named(inner)
                user.service_classes[name] = _named(rest)[0]
            case 0x58:
                user.identity = _identity(inner)
    return user


def _number(value: bytes, width: int, name: str) -> int:
    if len(value) != width:
        raise ProtocolError(f"The item {name} has {len(value)} bytes instead of {width}.")
    return int.from_bytes(value, "big")


def _counted(value: bytes) -> tuple[bytes, bytes]:
    """A value behind its 16-bit length, and what follows."""
    length = int.from_bytes(value[:2], "big")
    if len(value) < 2 + length:
        raise ProtocolError("A user information sub-item ends early.")
    return value[2 : 2 + length], value[2 + length :]


def _named(value: bytes) -> tuple[str, bytes]:
    uid, rest = _counted(value)
    return _uid(uid), rest


def _identity(value: bytes) -> Identity:
    if len(value) < 2:
        raise ProtocolError("The user identity item ends early.")
    primary, rest = _counted(value[2:])
    # A type without a second field may leave out its length, too.
    secondary = _counted(rest)[0] if rest else b""
    return Identity(kind=value[0], response=value[1] == 1, primary=primary, secondary=secondary)


def item(kind: int, value: bytes) -> bytes:
    """An item or sub-item of any kind."""
    return struct.pack(">BxH", kind, len(value)) + value


def write_acceptance(request: AssociateRequest, answers: tuple[Answer, ...], user_items: bytes) -> bytes:
    """The A-ASSOCIATE-AC PDU that answers ``request``; ``user_items`` are the encoded user information sub-items."""
    body = struct.pack(">H2x", 1) + request.titles + bytes(32) + item(0x10, APPLICATION_CONTEXT.encode("ascii"))
    for answer in answers:
        syntax = item(0x40, answer.transfer_syntax.encode("ascii", "replace"))
        body += item(0x21, struct.pack(">BxBx", answer.context_id, answer.result) + syntax)
    body += item(0x50, user_items)
    return struct.pack(">BxI", ASSOCIATE_AC, len(body)) + body


def role_item(sop_class: str, role: Role) -> bytes:
    """SCP/SCU Role Selection sub-item (PS3.7 table D.3-10)."""
    uid = sop_class.encode("ascii")
    return item(0x54, struct.pack(">H", len(uid)) + uid + bytes([role.scu, role.scp]))


def extended_item(sop_class: str, information: bytes) -> bytes:
    """SOP Class Extended Negotiation sub-item (PS3.7 table D.3-12)."""
    uid = sop_class.encode("ascii")
    return item(0x56, struct.pack(">H", len(uid)) + uid + information)
