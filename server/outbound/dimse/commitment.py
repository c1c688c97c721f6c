"""Storage Commitment Push Model (PS3.4 annex J): a peer is asked to keep instances, or told whether we keep them."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pydicom import Dataset

from server.errors import Unavailable, Unprocessable
from server.outbound.dimse.association import (
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    Association,
    Message,
    associate,
    decode_dataset,
    encode_dataset,
)
from server.outbound.dimse.entity import Entity
from server.outbound.dimse.pdu import Context
from server.settings import Peer

#: SOP class and well-known instance (PS3.4 J.3.1, J.3.5).
PUSH_MODEL = "1.2.840.10008.1.20.1"
PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
_N_EVENT_REPORT_RQ, _N_EVENT_REPORT_RSP, _N_ACTION_RQ, _N_ACTION_RSP = 0x0100, 0x8100, 0x0130, 0x8130
#: Seconds that the association stays open for a peer that reports at once.
_LINGER = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What an N-EVENT-REPORT says (PS3.4 J.3.3)."""

    transaction: str
    committed: tuple[str, ...] = ()
    #: SOP Instance UID -> Failure Reason (0008,1197).
    failed: dict[str, int] = field(default_factory=dict)


def read_report(dataset: Dataset) -> Report:
    """The report in an event's information."""
    return Report(
        transaction=str(dataset.get("TransactionUID", "")),
        committed=tuple(
            str(item.get("ReferencedSOPInstanceUID", "")) for item in dataset.get("ReferencedSOPSequence") or ()
        ),
        failed={
            str(item.get("ReferencedSOPInstanceUID", "")): int(item.get("FailureReason", 0x0110) or 0x0110)
            for item in dataset.get("FailedSOPSequence") or ()
        },
    )


def request(
    entity: Entity, peer: Peer, transaction: str, instances: Iterable[tuple[str, str]], *, linger: float = _LINGER
) -> Report | None:
    """Asks the peer to commit itself to (SOP class, SOP instance) pairs (N-ACTION, PS3.4 J.3.2).

    Gives its report where it comes on this association within ``linger`` seconds; else it calls us with it later.
    Raises Unavailable, and Unprocessable when the peer refuses.
    """
    action = Dataset()
    action.TransactionUID = transaction
    action.ReferencedSOPSequence = [_reference(*pair) for pair in instances]
    command = Dataset()
    command.RequestedSOPClassUID = PUSH_MODEL
    command.CommandField = _N_ACTION_RQ
    command.RequestedSOPInstanceUID = PUSH_MODEL_INSTANCE
    command.ActionTypeID = 1
    report: Report | None = None
    with associate(entity, peer, [_context()]) as association:
        context = association.context(PUSH_MODEL)
        syntax = association.transfer_syntax(context)
        association.request(context, command, [encode_dataset(action, syntax)])
        answer = association.receive()
        # A hasty peer reports before it answers.
        if answer.field == _N_EVENT_REPORT_RQ:
            report = _heard(association, answer, syntax)
            answer = association.receive()
        _check(peer, answer.command, "storage commitment")
        if report is None and linger:
            report = _late(association, syntax, linger)
    return report


def _late(association: Association, syntax: str, linger: float) -> Report | None:
    """The report, if it comes while we wait."""
    try:
        message = association.receive(linger)
    except Unavailable:
        return None
    return _heard(association, message, syntax) if message.field == _N_EVENT_REPORT_RQ else None


def _heard(association: Association, message: Message, syntax: str) -> Report:
    try:
        report = read_report(decode_dataset(message.data, syntax))
    except (ValueError, TypeError) as error:
        raise Unavailable(f"The peer {association.peer.name} reported what can't be read.") from error
    answer = Dataset()
    answer.AffectedSOPClassUID = PUSH_MODEL
    answer.CommandField = _N_EVENT_REPORT_RSP
    answer.MessageIDBeingRespondedTo = int(message.command.get("MessageID", 0))
    answer.Status = 0
    answer.AffectedSOPInstanceUID = PUSH_MODEL_INSTANCE
    association.send(message.context, answer)
    return report


def report(
    entity: Entity, peer: Peer, transaction: str, committed: Iterable[tuple[str, str]],
    failed: Iterable[tuple[str, str, int]] = (),
) -> None:  # fmt: skip
    """Tells the peer what became of its request (N-EVENT-REPORT, PS3.4 J.3.3), we being the SCP on our association.

    ``committed`` are (SOP class, SOP instance) pairs, ``failed`` have a Failure Reason behind. Raises as ``request``.
    """
    event = Dataset()
    event.TransactionUID = transaction
    kept = [_reference(*pair) for pair in committed]
    missed = [_reference(*item) for item in failed]
    if kept:
        event.ReferencedSOPSequence = kept
    if missed:
        event.FailedSOPSequence = missed
    command = Dataset()
    command.AffectedSOPClassUID = PUSH_MODEL
    command.CommandField = _N_EVENT_REPORT_RQ
    command.AffectedSOPInstanceUID = PUSH_MODEL_INSTANCE
    # PS3.4 table J.3-2: 1 all committed, 2 failures exist.
    command.EventTypeID = 2 if missed else 1
    with associate(entity, peer, [_context(as_scp=True)]) as association:
        context = association.context(PUSH_MODEL)
        association.request(context, command, [encode_dataset(event, association.transfer_syntax(context))])
        _check(peer, association.receive().command, "the commitment's report")


def _context(*, as_scp: bool = False) -> Context:
    return Context(abstract_syntax=PUSH_MODEL, transfer_syntaxes=(EXPLICIT_LITTLE, IMPLICIT_LITTLE), as_scp=as_scp)


def _reference(sop_class: str, sop_instance: str, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = sop_instance
    if reason is not None:
        item.FailureReason = reason
    return item


def _check(peer: Peer, command: Dataset, what: str) -> None:
    status = int(command.get("Status", 0xC000))
    if status:
        raise Unprocessable(f"The peer {peer.name} refused {what} with status {status:04X}.")
