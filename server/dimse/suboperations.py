"""The C-STORE sub-operations that C-MOVE and C-GET are made of (PS3.4 C.4.2.3, C.4.3.3): sent, counted, told."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol

from server.dimse import identifier as wire
from server.dimse.failure import CANCELLED
from server.dimse.service import Caller, Request, Response
from server.errors import HutongError
from server.imaging.part10 import DEFLATED, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, read_meta
from server.imaging.retrieve import Retrieve
from server.outbound.dimse.store import is_stored
from server.store.studies import Located

SUCCESS, PENDING, WITH_FAILURES, ALL_FAILED = 0x0000, 0xFF00, 0xB000, 0xA702
#: Seconds between two pending responses; the first follows the first sub-operation.
_INTERVAL = 0.25
#: Into what a stored instance is turned where the destination does not take it as it is, the best first.
_UNCOMPRESSED = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, DEFLATED)

#: Gives a Part 10 file in another transfer syntax; raises NotAcceptable, Unprocessable or Unavailable.
Transcode = Callable[[bytes, str], bytes]


class Destination(Protocol):
    """Where instances go: another AE, or the caller itself."""

    def takes(self, sop_class: str) -> tuple[str, ...]:
        """Transfer syntaxes in which it takes a SOP class; empty where it does not."""

    def store(self, sop_class: str, sop_instance: str, transfer_syntax: str, data: Iterable[bytes]) -> int:
        """Sends one encoded data set; gives the C-STORE status."""


@dataclass(kw_only=True, slots=True)
class Progress:
    """How far the sub-operations of one request are."""

    remaining: int
    completed: int = 0
    warning: int = 0
    #: SOP Instance UIDs.
    failed: list[str] = field(default_factory=list)

    def counts(self, *, ended: bool = False) -> dict[str, int]:
        """Elements of the response's command set; what remains is not told at the end (PS3.7 table 9.1-4)."""
        counts = {
            "NumberOfCompletedSuboperations": self.completed,
            "NumberOfFailedSuboperations": len(self.failed),
            "NumberOfWarningSuboperations": self.warning,
        }
        return counts if ended else {"NumberOfRemainingSuboperations": self.remaining, **counts}

    def note(self, uid: str, status: int) -> None:
        """Counts one sub-operation by its C-STORE's status (PS3.4 table B.2-1); what was there before is a warning."""
        self.remaining -= 1
        if status == SUCCESS:
            self.completed += 1
        elif is_stored(status):
            self.warning += 1
        else:
            self.failed.append(uid)


@dataclass(frozen=True, kw_only=True)
class Sending:
    """What sub-operations need."""

    retrieve: Retrieve
    transcode: Transcode

    def run(
        self, caller: Caller, request: Request, located: Sequence[Located], destination: Destination
    ) -> Iterator[Response]:
        """Sends every instance; pending responses on the way, the outcome at the end."""
        progress, told = Progress(remaining=len(located)), 0.0
        comment = ""
        for place in located:
            if caller.cancelled(request.message_id):
                yield ended(request, progress, status=CANCELLED)
                return
            try:
                status = self._send(caller, place, destination)
            except HutongError as error:
                status, comment = ALL_FAILED, error.details
            progress.note(place.instance, status)
            if progress.remaining and time.monotonic() - told > _INTERVAL:
                told = time.monotonic()
                yield Response(status=PENDING, command=progress.counts())
        yield ended(request, progress, comment=comment)

    def _send(self, caller: Caller, place: Located, destination: Destination) -> int:
        taken = destination.takes(place.sop_class)
        if place.transfer_syntax in taken:
            chunks = self.retrieve.stream(caller.access, place, place.dataset_offset)
            # What can't be read shall show before a message is begun.
            data = chain([next(chunks, b"")], chunks)
            return destination.store(place.sop_class, place.instance, place.transfer_syntax, data)
        target = next((syntax for syntax in (*_UNCOMPRESSED, *taken) if syntax in taken and syntax != EXPLICIT_BIG), "")
        if not target:
            # PS3.7 annex C.5.12: the destination has no presentation context for it.
            return 0x0122
        written = self.transcode(self.retrieve.file(caller.access, place), target)
        meta = read_meta(written, 0, len(written))
        transcoded = written[meta.dataset_offset :]
        return destination.store(place.sop_class, place.instance, meta.transfer_syntax, [transcoded])


def ended(request: Request, progress: Progress, *, status: int | None = None, comment: str = "") -> Response:
    """The last response: the outcome, the counts, and the instances that did not arrive."""
    if status is None:
        bad = bool(progress.failed or progress.warning)
        none = bool(progress.failed) and not progress.completed and not progress.warning
        status = ALL_FAILED if none else WITH_FAILURES if bad else SUCCESS
    failed = {"00080058": {"vr": "UI", "Value": progress.failed}}
    return Response(
        status=status,
        comment=comment if progress.failed else "",
        dataset=wire.encode(request, failed) if progress.failed else None,
        command=progress.counts(ended=status != CANCELLED),
    )
