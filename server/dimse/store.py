"""C-STORE (PS3.4 annex B): one instance in; the answer leaves only after the instance is durable."""

import re
import threading
from collections.abc import Iterator

from pydicom.uid import AllTransferSyntaxes
from pynetdicom.presentation import AllStoragePresentationContexts

from server.dimse.failure import failure
from server.dimse.message import Command
from server.dimse.negotiation import Acceptable, Context
from server.dimse.pdu import NOT_SPECIFIED, Ended, ProtocolError
from server.dimse.service import Response
from server.errors import HutongError
from server.imaging.ingest import Ingest, Session
from server.imaging.part10 import EXPLICIT_LITTLE, IMPLICIT_LITTLE, write_meta
from server.security.access import Access

#: PS3.4 table B.2-1 and PS3.7 annex C.
SUCCESS, PROCESSING_FAILURE = 0x0000, 0x0110
INVALID_INSTANCE, CLASS_NOT_SUPPORTED = 0x0117, 0x0122

#: Every storage SOP class of the dictionary (PS3.4 table B.5-1).
STORAGE_CLASSES = tuple(str(context.abstract_syntax) for context in AllStoragePresentationContexts)
#: Whoever proposes several in one context can send uncompressed: that is what every reader takes.
TRANSFER_SYNTAXES = (
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    *(str(uid) for uid in AllTransferSyntaxes if uid not in (EXPLICIT_LITTLE, IMPLICIT_LITTLE)),
)
#: Bytes that are held in memory while they come: of one instance, and of all together.
HELD_OF_ONE, HELD_TOGETHER = 2 << 20, 64 << 20
_UID = re.compile(r"[0-9.]{1,64}", re.ASCII)


def acceptable() -> Acceptable:
    """What a storage SOP class is accepted with; the requestor may be its SCP, as C-GET needs it."""
    return Acceptable(transfer_syntaxes=TRANSFER_SYNTAXES, roles=True, services={"store"})


class Budget:
    """Bytes that all associations together may hold of instances on their way in."""

    def __init__(self, total: int = HELD_TOGETHER) -> None:
        self._left = total
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Takes ``size`` bytes, which are to be given back; whether there was room for them."""
        with self._lock:
            self._left -= size
            return self._left >= 0

    def give(self, size: int) -> None:
        """Gives bytes back."""
        with self._lock:
            self._left += size


class InstanceStore:
    """Takes instances from associations into the one door."""

    def __init__(self, ingest: Ingest, largest: int) -> None:
        """``largest`` is the size limit of an instance in bytes."""
        self._ingest = ingest
        self._largest = largest
        self._budget = Budget()

    def store(
        self, access: Access, calling: str, context: Context, command: Command, data: Iterator[memoryview]
    ) -> Response:
        """Takes the instance in and ``data`` to its end; raises what ``data`` raises."""
        data = self._bounded(data)
        try:
            response = _refusal(context, command) or self._take(access, calling, context, command, data)
        except (Ended, ProtocolError):
            raise
        except HutongError as error:
            response = failure(error, otherwise=PROCESSING_FAILURE)
        for _piece in data:
            # What a refusal left unread is still on its way.
            pass
        return response

    def _take(
        self, access: Access, calling: str, context: Context, command: Command, data: Iterator[memoryview]
    ) -> Response:
        meta = write_meta(
            sop_class=command.sop_class,
            sop_instance=command.sop_instance,
            transfer_syntax=context.transfer_syntax,
            source_ae=calling,
        )
        with self._ingest.session(access) as session:
            session.begin(command.sop_class, command.sop_instance)
            session.data(meta)
            self._pass_on(session, data)
            session.end()
            outcome = session.finish()
        if outcome.refused:
            return Response(status=outcome.refused[0].reason, comment=outcome.refused[0].details)
        return Response(status=SUCCESS)

    def _pass_on(self, session: Session, data: Iterator[memoryview]) -> None:
        """The data set into the session; where many come at once, into the pack at once instead of into memory."""
        held = 0
        try:
            for piece in data:
                session.data(piece)
                held += len(piece)
                if not self._budget.take(len(piece)) or held > HELD_OF_ONE:
                    session.spill()
                    self._budget.give(held)
                    held = 0
        except (Ended, ProtocolError):
            session.abandon()
            raise
        finally:
            self._budget.give(held)

    def _bounded(self, data: Iterator[memoryview]) -> Iterator[memoryview]:
        """The data set's pieces; nobody waits for the end of one that is far beyond the limit and refused anyhow."""
        left = 2 * self._largest
        for piece in data:
            left -= len(piece)
            if left < 0:
                raise ProtocolError("The data set of an instance that is too large does not end.", NOT_SPECIFIED)
            yield piece


def _refusal(context: Context, command: Command) -> Response | None:
    """Why the data set need not be looked at."""
    if command.sop_class != context.abstract_syntax:
        comment = "Affected SOP Class UID is not that of the presentation context."
        return Response(status=CLASS_NOT_SUPPORTED, comment=comment)
    if not _UID.fullmatch(command.sop_instance):
        return Response(status=INVALID_INSTANCE, comment="Affected SOP Instance UID is missing or no UID.")
    return None
