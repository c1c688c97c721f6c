"""C-MOVE and C-GET (PS3.4 C.4.2 and C.4.3, PS3.7 9.1.3 and 9.1.4): what a peer has, brought here."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pydicom import Dataset
from pydicom import uid as uids

from server.errors import Unprocessable
from server.outbound.dimse.association import (
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    Association,
    Message,
    associate,
    encode_dataset,
)
from server.outbound.dimse.entity import Entity
from server.outbound.dimse.pdu import MOST_CONTEXTS, Context
from server.settings import Peer

#: Study Root Query/Retrieve Information Model - MOVE and GET.
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
_C_STORE_RQ, _C_STORE_RSP, _C_GET_RQ, _C_MOVE_RQ = 0x0001, 0x8001, 0x0010, 0x0021
_PENDING = 0xFF00
#: Seconds without a word after which a C-MOVE has died: a peer need not tell how far it is.
_PATIENCE = 600.0
#: What we take, the preferred first.
_SYNTAXES: tuple[str, ...] = (
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    uids.JPEGLSLossless,
    uids.JPEG2000Lossless,
    uids.JPEGLosslessSV1,
    uids.RLELossless,
    uids.JPEGBaseline8Bit,
    uids.JPEG2000,
    uids.JPEGExtended12Bit,
    uids.HTJ2KLossless,
)
#: Sub-operations ended, some with failures or warnings.
_WARNING = 0xB000


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Sub-operations so far (PS3.7 9.1.3.1.7 to 10); a peer may leave the numbers out."""

    remaining: int
    completed: int
    failed: int
    warning: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """An instance that a C-GET brings; its data set is encoded as it says."""

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    data: bytes


#: Takes an instance in; gives the C-STORE status to answer with.
Take = Callable[[Arrival], int]


def move(entity: Entity, peer: Peer, identifier: Dataset) -> Iterator[Progress]:
    """Has the peer send to us what the identifier names; the last progress is the outcome.

    Raises Unavailable, and Unprocessable when the peer refuses, e.g. because it does not know our AE title.
    """
    contexts = [Context(abstract_syntax=STUDY_ROOT_MOVE, transfer_syntaxes=(EXPLICIT_LITTLE, IMPLICIT_LITTLE))]
    with associate(entity, peer, contexts) as association:
        command = Dataset()
        command.AffectedSOPClassUID = STUDY_ROOT_MOVE
        command.CommandField = _C_MOVE_RQ
        command.Priority = 0
        command.MoveDestination = entity.title
        _request(association, STUDY_ROOT_MOVE, command, identifier)
        while True:
            answer = association.receive(max(peer.timeout, _PATIENCE))
            yield _progress(answer.command)
            if int(answer.command.get("Status", 0xC000)) != _PENDING:
                break
    _check(peer, answer.command)


def _storage(sop_classes: Sequence[str]) -> list[Context]:
    """Contexts in which instances may come, for the SOP classes that are known to; without any for the usual ones.

    Few classes get a context for each transfer syntax, so that what is compressed comes as it is.
    """
    room = MOST_CONTEXTS - 1
    known = sop_classes or _usual_classes()
    pairs: list[tuple[str, tuple[str, ...]]]
    if len(known) * len(_SYNTAXES) <= room:
        pairs = [(name, (syntax,)) for name in known for syntax in _SYNTAXES]
    else:
        pairs = [(name, _SYNTAXES) for name in known[:room]]
    return [Context(abstract_syntax=name, transfer_syntaxes=syntaxes, as_scp=True) for name, syntaxes in pairs]


def _usual_classes() -> list[str]:
    # Loaded only where it is needed: it is large.
    from pynetdicom.presentation import StoragePresentationContexts

    return [str(context.abstract_syntax) for context in StoragePresentationContexts]


def get(
    entity: Entity, peer: Peer, identifier: Dataset, take: Take, *, sop_classes: Sequence[str] = ()
) -> Iterator[Progress]:
    """Has the peer send what the identifier names on this very association; ``sop_classes`` are those that will come.

    Raises as ``move`` does.
    """
    own = Context(abstract_syntax=STUDY_ROOT_GET, transfer_syntaxes=(EXPLICIT_LITTLE, IMPLICIT_LITTLE))
    with associate(entity, peer, [own, *_storage(sop_classes)]) as association:
        command = Dataset()
        command.AffectedSOPClassUID = STUDY_ROOT_GET
        command.CommandField = _C_GET_RQ
        command.Priority = 0
        _request(association, STUDY_ROOT_GET, command, identifier)
        while True:
            answer = association.receive()
            if answer.field == _C_STORE_RQ:
                _take(association, answer, take)
                continue
            yield _progress(answer.command)
            if int(answer.command.get("Status", 0xC000)) != _PENDING:
                break
    _check(peer, answer.command)


def _request(association: Association, model: str, command: Dataset, identifier: Dataset) -> None:
    context = association.context(model)
    association.request(context, command, [encode_dataset(identifier, association.transfer_syntax(context))])


def _take(association: Association, request: Message, take: Take) -> None:
    command = request.command
    arrival = Arrival(
        sop_class=str(command.get("AffectedSOPClassUID", "")),
        sop_instance=str(command.get("AffectedSOPInstanceUID", "")),
        transfer_syntax=association.transfer_syntax(request.context),
        data=request.data,
    )
    answer = Dataset()
    answer.AffectedSOPClassUID = arrival.sop_class
    answer.CommandField = _C_STORE_RSP
    answer.MessageIDBeingRespondedTo = int(command.get("MessageID", 0))
    answer.Status = take(arrival)
    answer.AffectedSOPInstanceUID = arrival.sop_instance
    association.send(request.context, answer)


def _progress(command: Dataset) -> Progress:
    def number(name: str) -> int:
        return int(command.get(f"NumberOf{name}Suboperations", 0) or 0)

    return Progress(
        remaining=number("Remaining"), completed=number("Completed"), failed=number("Failed"), warning=number("Warning")
    )


def _check(peer: Peer, command: Dataset) -> None:
    status = int(command.get("Status", 0xC000))
    if status in (0, _WARNING):
        return
    # PS3.4 table C.4-2: A801, Move Destination unknown.
    cure = "; enter our AE title, host and port there" if status == 0xA801 else ""
    raise Unprocessable(f"The peer {peer.name} refused to send with status {status:04X}{cure}.")
