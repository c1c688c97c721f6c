"""C-STORE (PS3.4 annex B): one instance in; the answer leaves only after the instance is durable."""

import threading

from pydicom import Dataset
from pynetdicom.events import Event

from server.errors import HutongError, Unavailable
from server.imaging.ingest import Ingest, Received
from server.imaging.part10 import write_meta
from server.security.access import Access
from server.store.packs import FULL, PackWriter

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
NOT_AUTHORIZED = 0x0124
PROCESSING_FAILURE = 0x0110


class AssociationStore:
    """What one association stores; its instances share a pack."""

    def __init__(self, ingest: Ingest, access: Access) -> None:
        self._ingest = ingest
        self._access = access
        self._pack: PackWriter | None = None
        # The association may end, in another thread, while an instance is still being taken in.
        self._lock = threading.Lock()
        self._ended = False

    def store(self, event: Event) -> Dataset:
        """Takes the instance in; gives the status with a comment (PS3.7 9.1.1.1.9, C.4)."""
        request = event.request
        sop_class, sop_instance = str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID)
        meta = write_meta(
            sop_class=sop_class,
            sop_instance=sop_instance,
            transfer_syntax=str(event.context.transfer_syntax),
            source_ae=self._access.who.removeprefix("ae:"),
        )
        received = Received(
            chunks=(meta, event.encoded_dataset(include_meta=False)), sop_class=sop_class, sop_instance=sop_instance
        )
        try:
            with self._lock:
                outcome = self._ingest.receive(self._access, [received], pack=self._open_pack())
        except Unavailable as error:
            return status(OUT_OF_RESOURCES, error.details)
        except HutongError as error:
            return status(PROCESSING_FAILURE, error.details)
        if outcome.refused:
            return status(outcome.refused[0].reason, outcome.refused[0].details)
        return status(SUCCESS)

    def end(self) -> None:
        """Closes the pack, when what runs is done."""
        with self._lock:
            self._ended = True
            self._close_pack()

    def _close_pack(self) -> None:
        if self._pack is not None:
            pack, self._pack = self._pack, None
            pack.close()

    def _open_pack(self) -> PackWriter:
        if self._ended:
            raise Unavailable("The association has ended; send again.")
        # What a failed write left behind the durable part is not built upon.
        if self._pack is not None and (self._pack.position > FULL or self._pack.position != self._pack.synced):
            self._close_pack()
        if self._pack is None:
            self._pack = self._ingest.writer(self._access)
        return self._pack


def status(code: int, comment: str = "") -> Dataset:
    """A response's status; the comment is cut to what an Error Comment holds (LO, 64 characters)."""
    answer = Dataset()
    answer.Status = code
    if comment:
        answer.ErrorComment = comment.encode("ascii", "replace").decode("ascii").replace("\\", "/")[:64]
    return answer
