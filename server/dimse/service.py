"""What a DIMSE service is made of: the request it gets, the responses it gives, and the association around them.

A service is a function from a caller and a request to responses (PS3.7 chapter 9 and 10); the association core decodes
and encodes the messages, so services know no PDU and no socket.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydicom import Dataset

from server.security.access import Access


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One request message (PS3.7 6.3)."""

    #: Group 0000.
    command: Dataset
    #: Abstract syntax of the presentation context: the SOP class, or a Meta SOP class.
    abstract_syntax: str
    transfer_syntax: str
    context_id: int
    #: The data set as it came, in the transfer syntax; empty where the message has none.
    data: bytes = b""

    @property
    def message_id(self) -> int:
        """Message ID (0000,0110)."""
        return int(self.command.MessageID)


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """One response message: the status, and what goes with it."""

    status: int
    #: The identifier or attribute list, if the service gives one: to be encoded in the request's transfer syntax, or
    #: bytes that are already.
    dataset: Dataset | bytes | None = None
    #: Error Comment (0000,0902); cut to 64 characters. Never patient data.
    comment: str = ""
    #: Further elements of the command set by keyword, e.g. NumberOfRemainingSuboperations.
    command: Mapping[str, Any] = field(default_factory=dict)


class Caller(Protocol):
    """The association as a service sees it."""

    @property
    def access(self) -> Access:
        """The rights of the calling AE."""

    @property
    def calling(self) -> str:
        """Calling AE title."""

    @property
    def called(self) -> str:
        """Called AE title."""

    @property
    def address(self) -> str:
        """The caller's IP address."""

    def cancelled(self, message_id: int) -> bool:
        """Whether a C-CANCEL for the message came (PS3.7 9.3.2.3), or the association ended."""

    def takes(self, sop_class: str) -> tuple[str, ...]:
        """Transfer syntaxes of the accepted contexts of a SOP class in which the caller is SCP (role selection)."""

    def store(self, sop_class: str, sop_instance: str, transfer_syntax: str, data: bytes) -> int:
        """A C-STORE sub-operation on this association (C-GET); ``data`` is the encoded data set. Gives its status."""

    def report(self, abstract_syntax: str, sop_instance: str, event_type: int, dataset: Dataset) -> int:
        """An N-EVENT-REPORT on this association, its status (PS3.7 10.1.1); Unavailable where it has ended."""

    def extended(self, abstract_syntax: str) -> bytes:
        """Application information that SOP Class Extended Negotiation agreed on; empty without (PS3.7 D.3.3.5)."""


Service = Callable[[Caller, Request], Iterator[Response]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """A service and the abstract syntaxes under which it is reached.

    A service may go on after its last response, e.g. with an event report: its iterator is always run to the end.
    """

    abstract_syntaxes: tuple[str, ...]
    #: Command Field (0000,0100) of the requests it serves, e.g. 0x0020 C-FIND-RQ.
    commands: tuple[int, ...]
    serve: Service
    #: Transfer syntaxes accepted, the preferred first.
    transfer_syntaxes: tuple[str, ...]
    #: Whether the requestor may be SCP of these abstract syntaxes (C-GET's storage contexts).
    roles: bool = False
    #: Application information that we support; the answer is the request's and ours, bit by bit (PS3.4 C.5.1.1).
    extended: bytes = b""
    #: Name in Peer.services that a peer needs: echo, store, find, move, get, worklist, commitment, mpps.
    name: str
