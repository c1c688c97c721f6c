"""Storage Commitment Push Model (PS3.4 annex J): requests of others answered, and answers to our requests taken.

The report goes out on the association of the request while it is open; else a job calls the requester.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pydicom import Dataset

from server.dimse import identifier as wire
from server.dimse.failure import NOT_AUTHORIZED
from server.dimse.service import Caller, Offer, Request, Response
from server.errors import BadRequest, Forbidden, HutongError, Unavailable
from server.imaging import attributes as read
from server.imaging.commitment import Commitments, Reference, Report
from server.imaging.dataset import Attributes

PUSH_MODEL = "1.2.840.10008.1.20.1"
#: The well-known SOP instance (PS3.4 J.3.5).
INSTANCE = "1.2.840.10008.1.20.1.1"
N_EVENT_REPORT_RQ, N_ACTION_RQ = 0x0100, 0x0130
#: PS3.4 tables J.3-1 and J.3-2.
REQUEST_COMMITMENT, SUCCESSFUL, FAILURES_EXIST = 1, 1, 2
SUCCESS = 0x0000
#: PS3.7 annex C.
_PROCESSING_FAILURE, _NO_SUCH_INSTANCE, _NO_SUCH_EVENT, _NO_SUCH_ACTION = 0x0110, 0x0112, 0x0113, 0x0123
_INVALID_ARGUMENT, _RESOURCE_LIMITATION = 0x0115, 0x0213
_TRANSACTION, _REFERENCES, _FAILED = "00081195", "00081199", "00081198"
_IS_UID = re.compile(r"[0-9.]{1,64}", re.ASCII)
_CLASS, _UID, _REASON = "00081150", "00081155", "00081197"

#: Takes in the result of a commitment that we asked for: tenant, Transaction UID, instances that are kept, and reasons
#: by instance that is not. False where nobody waits for it.
Hears = Callable[[int, str, list[str], dict[str, str]], bool]


@dataclass(frozen=True, kw_only=True)
class Committing:
    """The service, in both roles."""

    commitments: Commitments
    hears: Hears

    def offer(self) -> Offer:
        """Its place among the services; a peer that reports to us is SCP on its association."""
        return Offer(
            abstract_syntaxes=(PUSH_MODEL,),
            commands=(N_ACTION_RQ, N_EVENT_REPORT_RQ),
            serve=self.serve,
            transfer_syntaxes=wire.TRANSFER_SYNTAXES,
            roles=True,
            name="commitment",
        )

    def serve(self, caller: Caller, request: Request) -> Iterator[Response]:
        """A request of the peer's, or its report."""
        if request.command.get("CommandField") == N_EVENT_REPORT_RQ:
            yield self._hear(caller, request)
        else:
            yield from self._act(caller, request)

    def _act(self, caller: Caller, request: Request) -> Iterator[Response]:
        about = {"AffectedSOPClassUID": PUSH_MODEL, "AffectedSOPInstanceUID": INSTANCE}
        action = int(request.command.get("ActionTypeID", 0))
        if str(request.command.get("RequestedSOPInstanceUID", "")) != INSTANCE:
            yield Response(status=_NO_SUCH_INSTANCE, comment=f"The instance to ask is {INSTANCE}.", command=about)
            return
        about |= {"ActionTypeID": action}  # type: ignore[dict-item]
        if action != REQUEST_COMMITMENT:
            yield Response(status=_NO_SUCH_ACTION, comment="The only action type is 1.", command=about)
            return
        try:
            transaction = self._note(caller, wire.decode(request))
        except HutongError as error:
            yield Response(status=_status(error), comment=error.details, command=about)
            return
        yield Response(status=SUCCESS, command=about)
        self._tell(caller, transaction)

    def _note(self, caller: Caller, information: Attributes) -> str:
        transaction = read.text(information, _TRANSACTION)
        references = [_reference(item) for item in read.items(information, _REFERENCES)]
        if not _IS_UID.fullmatch(transaction):
            raise BadRequest("The request needs a Transaction UID.", expression=_TRANSACTION)
        if not references or not all(_IS_UID.fullmatch(uid) for pair in references for uid in pair):
            raise BadRequest("The request needs SOP class and instance of each item.", expression=_REFERENCES)
        self.commitments.request(caller.access, caller.calling, transaction, references)
        return transaction

    def _tell(self, caller: Caller, transaction: str) -> None:
        """The report on the same association; where that has ended, the job will call."""
        report = self.commitments.report(caller.access.tenant, transaction)
        if report is None:
            return
        kind = FAILURES_EXIST if report.failed else SUCCESSFUL
        try:
            status = caller.report(PUSH_MODEL, INSTANCE, kind, event(report))
        except Unavailable:
            return
        if status == SUCCESS:
            self.commitments.reported(caller.access.tenant, transaction)

    def _hear(self, caller: Caller, request: Request) -> Response:
        kind = int(request.command.get("EventTypeID", 0))
        about = {"AffectedSOPClassUID": PUSH_MODEL, "AffectedSOPInstanceUID": INSTANCE, "EventTypeID": kind}
        if kind not in (SUCCESSFUL, FAILURES_EXIST):
            return Response(status=_NO_SUCH_EVENT, comment="The event types are 1 and 2.", command=about)
        try:
            caller.access.require("write")
            information = wire.decode(request)
            transaction = read.text(information, _TRANSACTION)
            kept = [_reference(item)[1] for item in read.items(information, _REFERENCES)]
            failed = {_reference(item)[1]: _reason(item) for item in read.items(information, _FAILED)}
            known = self.hears(caller.access.tenant, transaction, kept, failed)
        except HutongError as error:
            return Response(status=_status(error), comment=error.details, command=about)
        if not known:
            comment = "Nobody waits for this transaction."
            return Response(status=_PROCESSING_FAILURE, comment=comment, command=about)
        return Response(status=SUCCESS, command=about)


def event(report: Report) -> Dataset:
    """The information of the N-EVENT-REPORT (PS3.4 table J.3-2)."""
    dataset = Dataset()
    dataset.TransactionUID = report.transaction
    if report.committed:
        dataset.ReferencedSOPSequence = [_item(*pair) for pair in report.committed]
    if report.failed:
        dataset.FailedSOPSequence = [_item(*failed) for failed in report.failed]
    return dataset


def _item(sop_class: str, sop_instance: str, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = sop_instance
    if reason is not None:
        item.FailureReason = reason
    return item


def _reference(item: Attributes) -> Reference:
    return read.text(item, _CLASS), read.text(item, _UID)


def _reason(item: Attributes) -> str:
    return f"{read.integer(item, _REASON) or _PROCESSING_FAILURE:04X}"


def _status(error: HutongError) -> int:
    """PS3.7 annex C's status of a DIMSE-N request that failed."""
    if isinstance(error, Unavailable):
        return _RESOURCE_LIMITATION
    if isinstance(error, Forbidden):
        return NOT_AUTHORIZED
    return _INVALID_ARGUMENT if isinstance(error, BadRequest) else _PROCESSING_FAILURE
