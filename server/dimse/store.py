"""C-STORE (PS3.4 annex B): one instance in; the answer leaves only after the instance is durable."""

import re
import threading
from collections.abc import Iterable, Iterator
from itertools import chain

from pydicom.uid import AllTransferSyntaxes
from pynetdicom.presentation import AllStoragePresentationContexts

from server.dimse.message import Command
from server.dimse.negotiation import Acceptable, Context
from server.dimse.pdu import Ended, ProtocolError
from server.dimse.service import Response
from server.errors import Forbidden, HutongError, Unavailable
from server.imaging.ingest import Ingest, Received
from server.imaging.part10 import EXPLICIT_LITTLE, IMPLICIT_LITTLE, write_meta
from server.security.access import Access
from server.store.packs import PackWriter

#: PS3.4 table B.2-1 and PS3.7 annex C.
SUCCESS, OUT_OF_RESOURCES, NOT_AUTHORIZED, PROCESSING_FAILURE = 0x0000, 0xA700, 0x0124, 0x0110
INVALID_INSTANCE, CLASS_NOT_SUPPORTED = 0x0117, 0x0122

#: Every storage SOP class of the dictionary (PS3.4 table B.5-1).
STORAGE_CLASSES = tuple(str(context.abstract_syntax) for context in AllStoragePresentationContexts)
#: Whoever proposes several in one context can send uncompressed: that is what every reader takes.
TRANSFER_SYNTAXES = (
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    *(str(uid) for uid in AllTransferSyntaxes if uid not in (EXPLICIT_LITTLE, IMPLICIT_LITTLE)),
)
#: An instance up to this size is held in memory until it is whole, bytes; a larger one goes into its pack as it comes.
IN_MEMORY = 4 << 20
#: What all associations together may hold in memory, bytes.
IN_MEMORY_TOGETHER = 96 << 20
_UID = re.compile(r"[0-9.]{1,64}", re.ASCII)


def acceptable() -> Acceptable:
    """What a storage SOP class is accepted with; the requestor may be its SCP, as C-GET needs it."""
    return Acceptable(transfer_syntaxes=TRANSFER_SYNTAXES, roles=True, services={"store"})


class Budget:
    """Bytes that instances on their way in may hold in memory together."""

    def __init__(self, total: int = IN_MEMORY_TOGETHER) -> None:
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
        self._budget = Budget()
        self._largest = largest

    def store(self, access: Access, context: Context, command: Command, data: Iterator[memoryview]) -> Response:
        """Takes the instance in and ``data`` to its end; raises what ``data`` raises."""
        response = _refusal(context, command) or self._take(access, context, command, data)
        # What a refusal left unread is still on its way; beyond the limit nobody waits for its end.
        left = self._largest
        for piece in data:
            left -= len(piece)
            if left < 0:
                raise ProtocolError("The data set of a refused instance does not end.", 0)
        return response

    def _take(self, access: Access, context: Context, command: Command, data: Iterator[memoryview]) -> Response:
        meta = write_meta(
            sop_class=command.sop_class,
            sop_instance=command.sop_instance,
            transfer_syntax=context.transfer_syntax,
            source_ae=access.who.removeprefix("ae:"),
        )
        held: list[bytes] = []
        try:
            is_whole = self._gather(held, data)
            if is_whole:
                return self._receive(access, command, (meta, *held), None)
            # It may come slowly, or end early: it has a pack of its own, which then vanishes.
            with self._ingest.writer(access) as pack:
                return self._receive(access, command, chain((meta, *held), map(bytes, data)), pack)
        except (Ended, ProtocolError):
            raise
        except HutongError as error:
            return failure(error)
        finally:
            self._budget.give(sum(map(len, held)))

    def _gather(self, held: list[bytes], data: Iterator[memoryview]) -> bool:
        """Takes up to IN_MEMORY bytes into ``held``; whether that was all."""
        size = 0
        for piece in data:
            held.append(bytes(piece))
            size += len(piece)
            if not self._budget.take(len(piece)) or size > IN_MEMORY:
                return False
        return True

    def _receive(self, access: Access, command: Command, chunks: Iterable[bytes], pack: PackWriter | None) -> Response:
        received = Received(chunks=chunks, sop_class=command.sop_class, sop_instance=command.sop_instance)
        outcome = self._ingest.receive(access, [received], pack=pack)
        if outcome.refused:
            return Response(status=outcome.refused[0].reason, comment=outcome.refused[0].details)
        return Response(status=SUCCESS)


def _refusal(context: Context, command: Command) -> Response | None:
    """Why the data set need not be looked at."""
    if command.sop_class != context.abstract_syntax:
        comment = "Affected SOP Class UID is not that of the presentation context."
        return Response(status=CLASS_NOT_SUPPORTED, comment=comment)
    if not _UID.fullmatch(command.sop_instance):
        return Response(status=INVALID_INSTANCE, comment="Affected SOP Instance UID is missing or no UID.")
    return None


def failure(error: HutongError) -> Response:
    """An error of the house as the status of a C-STORE, its text as the comment."""
    status = PROCESSING_FAILURE
    if isinstance(error, Unavailable):
        status = OUT_OF_RESOURCES
    elif isinstance(error, Forbidden):
        status = NOT_AUTHORIZED
    return Response(status=status, comment=error.details)
