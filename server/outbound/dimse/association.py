"""An association that we request (PS3.8 chapter 7): one blocking socket, no thread; messages of PS3.7 over it.

Every wait is bounded by the peer's timeout. Whatever breaks on the way is Unavailable, since another try may succeed.
"""

import contextlib
import socket
import ssl
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pydicom import Dataset
from pydicom.errors import BytesLengthException
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from server.errors import NotAcceptable, Unavailable, Unreachable
from server.outbound.dimse import pdu
from server.outbound.dimse.entity import Entity, check_certificate
from server.outbound.dimse.pdu import Accepted, Context
from server.settings import Peer

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)
#: Seconds to connect and to negotiate.
_CONNECT = 10.0
#: Bytes put together for one write.
_WRITE = 1 << 20
#: PDUs that a peer may send though we said less; beyond, its length is a lie.
_LONGEST = 1 << 26
#: Longest data set taken from a peer in one message, bytes.
_LONGEST_DATA = 2 << 30
_NO_DATA = 0x0101
_MALFORMED = (ValueError, struct.error, StopIteration, IndexError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One message that came (PS3.7 6.3)."""

    context: int
    #: Group 0000.
    command: Dataset
    #: The encoded data set; empty where there is none.
    data: bytes

    @property
    def field(self) -> int:
        """Command Field (0000,0100)."""
        return int(self.command.get("CommandField", 0))


class Association:
    """An established association; made by ``associate``."""

    def __init__(self, peer: Peer, connection: socket.socket, contexts: Sequence[Context]) -> None:
        self.peer = peer
        self._socket = connection
        self._proposed = {2 * number + 1: context for number, context in enumerate(contexts)}
        self._accepted = Accepted(contexts={}, maximum_length=0, scp_of=frozenset())
        self._number = 0
        self._is_open = True
        self._pending: deque[tuple[int, bool, bool, memoryview]] = deque()

    def negotiate(self, entity: Entity) -> None:
        """Requests the association; raises Unavailable unless the peer accepts it."""
        request = pdu.associate_rq(
            self.peer.ae_title, entity.title, list(self._proposed.values()), implementation=entity.implementation
        )
        self._write([request])
        kind, body = self._read()
        if kind == pdu.ASSOCIATE_RJ:
            self._is_open = False
            raise Unreachable(f"The peer {self.peer.name} rejected the association: {pdu.rejection(body)}.")
        if kind != pdu.ASSOCIATE_AC:
            raise self._broken("answered the association request with something else")
        try:
            self._accepted = pdu.associate_ac(body)
        except _MALFORMED as error:
            raise self._broken("answered the association request with what can't be read") from error

    def syntaxes(self, abstract_syntax: str, *, as_scp: bool = False) -> tuple[str, ...]:
        """Transfer syntaxes that were accepted for an abstract syntax, in the order proposed."""
        if as_scp and abstract_syntax not in self._accepted.scp_of:
            return ()
        found = [self._accepted.contexts[number] for number in self._ids(abstract_syntax)]
        return tuple(dict.fromkeys(found))

    def transfer_syntax(self, context: int) -> str:
        """Of an accepted context."""
        return self._accepted.contexts.get(context, "")

    def _ids(self, abstract_syntax: str) -> list[int]:
        return [
            number
            for number, context in self._proposed.items()
            if context.abstract_syntax == abstract_syntax and number in self._accepted.contexts
        ]

    def context(self, abstract_syntax: str, transfer_syntax: str = "") -> int:
        """Id of an accepted context; NotAcceptable where the peer took none."""
        for number in self._ids(abstract_syntax):
            if transfer_syntax in ("", self._accepted.contexts[number]):
                return number
        raise NotAcceptable(
            f"The peer {self.peer.name} does not take {abstract_syntax} {transfer_syntax}".strip() + "."
        )

    def request(self, context: int, command: Dataset, data: Iterable[bytes | memoryview] | None = None) -> int:
        """Sends a request message; gives its Message ID."""
        self._number = self._number % 0xFFFF + 1
        command.MessageID = self._number
        self.send(context, command, data)
        return self._number

    def send(self, context: int, command: Dataset, data: Iterable[bytes | memoryview] | None = None) -> None:
        """Sends a message; the group length and the data set type are set here."""
        command.CommandDataSetType = _NO_DATA if data is None else 1
        encoded = encode_dataset(command, IMPLICIT_LITTLE)
        head = struct.pack("<HHII", 0, 0, 4, len(encoded))
        longest = self._accepted.maximum_length or pdu.MAXIMUM_LENGTH
        longest = min(longest, pdu.MAXIMUM_LENGTH)
        self._write(pdu.data(context, [head + encoded], command=True, longest=longest))
        if data is not None:
            self._write(pdu.data(context, data, command=False, longest=longest))

    def receive(self, seconds: float | None = None) -> Message:
        """The next message; raises Unavailable when none comes in time or the association ends."""
        self._socket.settimeout(self.peer.timeout if seconds is None else seconds)
        command, data = bytearray(), bytearray()
        decoded: Dataset | None = None
        while True:
            # One PDU may hold the end of one message and the start of the next.
            while not self._pending:
                self._pending.extend(self._fragments())
            context, is_command, is_last, value = self._pending.popleft()
            (command if is_command else data).extend(value)
            if len(data) > _LONGEST_DATA:
                raise self._broken("sent a data set that does not end")
            if is_command and is_last:
                decoded = self._decoded(bytes(command))
            if not is_last or decoded is None:
                continue
            if not is_command or decoded.get("CommandDataSetType", _NO_DATA) == _NO_DATA:
                return Message(context=context, command=decoded, data=bytes(data))

    def _fragments(self) -> list[tuple[int, bool, bool, memoryview]]:
        kind, body = self._read()
        if kind == pdu.RELEASE_RQ:
            with contextlib.suppress(OSError):
                self._socket.sendall(pdu.RELEASE_RESPONSE)
        if kind != pdu.DATA:
            self._is_open = False
            raise Unavailable(f"The peer {self.peer.name} ended the association early.")
        try:
            return list(pdu.fragments(body))
        except _MALFORMED as error:
            raise self._broken("sent what can't be read") from error

    def _decoded(self, command: bytes) -> Dataset:
        try:
            decoded = decode_dataset(command, IMPLICIT_LITTLE)
        except ValueError as error:
            raise self._broken("sent a command that can't be read") from error
        if any(element.VR == "US" and not isinstance(element.value, int) for element in decoded):
            raise self._broken("sent a command without its numbers")
        return decoded

    def _write(self, parts: Iterable[bytes]) -> None:
        self._socket.settimeout(self.peer.timeout)
        pending, size = list[bytes](), 0
        try:
            for part in parts:
                pending.append(part)
                size += len(part)
                if size >= _WRITE:
                    self._socket.sendall(b"".join(pending))
                    pending, size = [], 0
            self._socket.sendall(b"".join(pending))
        except OSError as error:
            self._is_open = False
            raise Unavailable(f"The connection to the peer {self.peer.name} broke ({_kind(error)}).") from error

    def _read(self) -> tuple[int, bytes]:
        """The next PDU: its type and what is behind its length."""
        kind, length = struct.unpack(">BxI", self._exactly(6))
        if length > _LONGEST:
            raise self._broken("sent a PDU without end")
        return kind, self._exactly(length)

    def _exactly(self, size: int) -> bytes:
        buffer = bytearray(size)
        view, at = memoryview(buffer), 0
        try:
            while at < size:
                got = self._socket.recv_into(view[at:])
                if not got:
                    raise ConnectionResetError
                at += got
                if _QUICKACK is not None:
                    # Linux forgets the option: a peer that writes an answer in two parts waits for the first one's
                    # acknowledgement, else 40 ms for each message.
                    self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        except OSError as error:
            self._is_open = False
            why = "did not answer in time" if isinstance(error, TimeoutError) else f"broke off ({_kind(error)})"
            raise Unavailable(f"The peer {self.peer.name} {why}.") from error
        return bytes(buffer)

    def _broken(self, what: str) -> Unavailable:
        return Unavailable(f"The peer {self.peer.name} {what}.")

    def release(self) -> None:
        """Ends in order (A-RELEASE); a peer that does not answer is left."""
        if not self._is_open:
            return
        with contextlib.suppress(OSError, Unavailable):
            self._socket.settimeout(min(self.peer.timeout, _CONNECT))
            self._socket.sendall(pdu.RELEASE_REQUEST)
            while self._read()[0] not in (pdu.RELEASE_RP, pdu.ABORT):
                pass

    def abort(self) -> None:
        """Ends at once (A-ABORT)."""
        if self._is_open:
            with contextlib.suppress(OSError):
                self._socket.sendall(pdu.ABORT_REQUEST)
        self._is_open = False


#: What pydicom raises on bytes that are no data set.
_UNREADABLE = (
    BytesLengthException,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    EOFError,
    OverflowError,
    NotImplementedError,
    struct.error,
)


def decode_dataset(data: bytes, transfer_syntax: str) -> Dataset:
    """A data set as it came in a message, implicit or explicit VR little endian; ValueError where it is none."""
    try:
        found: Any = read_dataset(BytesIO(data), transfer_syntax == IMPLICIT_LITTLE, True)
        # pydicom reads values late; what can't be read shall show here.
        for _ in found.iterall():
            pass
    except _UNREADABLE as error:
        raise ValueError("the data set can't be read") from error
    if not isinstance(found, Dataset):
        raise ValueError("there is no data set")
    return found


def encode_dataset(dataset: Dataset, transfer_syntax: str) -> bytes:
    """A data set for a message; raises ValueError where it can't be written."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, transfer_syntax == IMPLICIT_LITTLE
    try:
        write_dataset(buffer, dataset)
    except _UNREADABLE as error:
        raise ValueError("the data set can't be encoded") from error
    return bytes(buffer.getvalue())


@contextmanager
def associate(entity: Entity, peer: Peer, contexts: Sequence[Context]) -> Iterator[Association]:
    """An association for the block; released at its end, aborted when it raises. Raises Unavailable."""
    with contextlib.closing(_connect(entity, peer)) as connection:
        association, went_well = Association(peer, connection, contexts), False
        try:
            _negotiated(association, entity)
            yield association
            went_well = True
        finally:
            if went_well:
                association.release()
            else:
                association.abort()


def _negotiated(association: Association, entity: Entity) -> None:
    """Silence or nonsense before there is an association: nothing reaches this peer."""
    try:
        association.negotiate(entity)
    except Unavailable as error:
        raise Unreachable(error.details) from error


def _connect(entity: Entity, peer: Peer) -> socket.socket:
    if not peer.ae_title:
        raise Unreachable(f"The peer {peer.name} has no AE title in the settings; give it one.", expression="peers")
    try:
        connection = socket.create_connection((peer.host, peer.port), timeout=min(_CONNECT, peer.timeout))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _secured(entity, peer, connection) if peer.tls else connection
    except OSError as error:
        raise Unreachable(f"The peer {peer.name} could not be reached ({_kind(error)}).") from error


def _secured(entity: Entity, peer: Peer, connection: socket.socket) -> socket.socket:
    with contextlib.ExitStack() as undone:
        undone.callback(connection.close)
        secured = entity.context(peer).wrap_socket(connection, server_hostname=peer.host)
        undone.callback(secured.close)
        check_certificate(peer, secured.getpeercert(binary_form=True))
        undone.pop_all()
    return secured


def _kind(error: OSError) -> str:
    """What went wrong, in few words and without addresses."""
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'refused'}"
    return error.strerror or type(error).__name__
