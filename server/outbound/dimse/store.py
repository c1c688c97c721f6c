"""C-STORE (PS3.4 annex B, PS3.7 9.1.1): instances to a peer, one after the other on one association."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pydicom import Dataset

from server.errors import NotAcceptable, Unavailable
from server.outbound.dimse.association import EXPLICIT_LITTLE, IMPLICIT_LITTLE, Association, associate
from server.outbound.dimse.entity import Entity
from server.outbound.dimse.pdu import MOST_CONTEXTS, Context
from server.settings import Peer

_C_STORE_RQ = 0x0001
#: Priority (0000,0700).
MEDIUM, HIGH, LOW = 0, 1, 2
#: Gives a Part 10 file in another transfer syntax.
Transcode = Callable[[bytes, str], bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class Originator:
    """The C-MOVE on whose behalf is sent (PS3.7 9.1.1.1.6 and 7)."""

    ae_title: str
    message_id: int


def is_stored(status: int) -> bool:
    """Whether a C-STORE status says that the peer has the instance now.

    PS3.4 table B.2-1: B000, B006 and B007 are warnings. PS3.7 C.5: 0111, the peer had this SOP Instance UID before.
    """
    return status in (0x0000, 0x0001, 0x0107, 0x0111, 0x0116) or status & 0xF000 == 0xB000


def is_transient(status: int) -> bool:
    """Whether another try may succeed: A7xx, out of resources."""
    return status & 0xFF00 == 0xA700


class Sender:
    """An association for storing."""

    def __init__(self, association: Association, originator: Originator | None) -> None:
        self._association = association
        self._originator = originator

    def accepts(self, sop_class: str) -> tuple[str, ...]:
        """Transfer syntaxes in which the peer takes a SOP class; empty where it does not."""
        return self._association.syntaxes(sop_class)

    def store(
        self, sop_class: str, sop_instance: str, transfer_syntax: str, data: bytes | Iterable[bytes | memoryview],
        *, priority: int = MEDIUM,
    ) -> int:  # fmt: skip
        """Sends one encoded data set (no file meta information); gives the status (PS3.4 table B.2-1).

        Raises NotAcceptable where the peer accepted no such context, Unavailable when the association breaks.
        """
        command = Dataset()
        command.AffectedSOPClassUID = sop_class
        command.CommandField = _C_STORE_RQ
        command.Priority = priority
        command.AffectedSOPInstanceUID = sop_instance
        if self._originator is not None:
            command.MoveOriginatorApplicationEntityTitle = self._originator.ae_title
            command.MoveOriginatorMessageID = self._originator.message_id
        context = self._association.context(sop_class, transfer_syntax)
        number = self._association.request(context, command, [data] if isinstance(data, bytes) else data)
        answer = self._association.receive().command
        if answer.get("MessageIDBeingRespondedTo") != number or "Status" not in answer:
            raise Unavailable(f"The peer {self._association.peer.name} answered another message than the one sent.")
        return int(answer.Status)


@contextmanager
def sender(
    entity: Entity, peer: Peer, wanted: Iterable[tuple[str, str]], *, originator: Originator | None = None
) -> Iterator[Sender]:
    """An association that proposes every (SOP class, transfer syntax) wanted, and uncompressed for each class.

    Raises Unavailable when the peer can't be reached or rejects the association.
    """
    with associate(entity, peer, contexts(wanted, peer.transfer_syntaxes)) as association:
        yield Sender(association, originator)


def contexts(wanted: Iterable[tuple[str, str]], preferred: tuple[str, ...] = ()) -> list[Context]:
    """A context for each pair, so that the peer decides on each; one for each SOP class where they are too many."""
    stored: dict[str, dict[str, None]] = {}
    for sop_class, syntax in sorted(set(wanted)):
        stored.setdefault(sop_class, {})[syntax] = None
    offered = {
        sop_class: tuple(dict.fromkeys(preferred or (*syntaxes, EXPLICIT_LITTLE, IMPLICIT_LITTLE)))
        for sop_class, syntaxes in stored.items()
    }
    if len(offered) > MOST_CONTEXTS:
        raise NotAcceptable(
            f"More than {MOST_CONTEXTS} SOP classes don't fit into one association; send fewer at once."
        )
    if sum(map(len, offered.values())) > MOST_CONTEXTS:
        return [Context(abstract_syntax=name, transfer_syntaxes=syntaxes) for name, syntaxes in offered.items()]
    return [
        Context(abstract_syntax=name, transfer_syntaxes=(syntax,))
        for name, syntaxes in offered.items()
        for syntax in syntaxes
    ]
