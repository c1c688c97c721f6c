"""The one door for DICOM instances, whoever brings them: STOW-RS, C-STORE, import, our own results.

Guard, bytes into a pack, one fsync, then one transaction: pack, patient, study, series and instance rows, counts,
audit and study activity. What is answered as stored is durable. An instance that is stored already is success and
changes nothing; another content under a known SOP Instance UID is refused and the first copy kept.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import tzinfo
from functools import partial
from types import TracebackType

from server.errors import BadInstance
from server.imaging import digests, guard, held
from server.imaging.admission import Admission
from server.imaging.entry import Candidate, Entry
from server.imaging.guard import GuardLimits, Sound
from server.imaging.held import Held
from server.imaging.index import Place, instance_row, patient_id, rows
from server.imaging.memo import Memo
from server.imaging.outcome import Accepted, Outcome, Refused, refusal
from server.security.access import Access
from server.store.database import Database
from server.store.packs import Packs, PackWriter

__all__ = ["BATCH", "Accepted", "Ingest", "Outcome", "Received", "Refused", "Session"]

#: Instances of one request that are committed together; a longer request is committed piece by piece.
BATCH = 256
#: Bytes after which the disk starts on them while more come.
_SYNC_EVERY = 8 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """One instance on its way in: the bytes of a Part 10 file, in pieces of any size."""

    chunks: Iterable[bytes]
    #: What the sender says it is, where the protocol names it; the data set must agree.
    sop_class: str = ""
    sop_instance: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Means:
    """What taking an instance in needs."""

    database: Database
    packs: Packs
    limits: GuardLimits
    zone: tzinfo
    admission: Admission
    entry: Entry
    memo: Memo = field(default_factory=Memo)


class Ingest:
    """Takes instances in."""

    def __init__(
        self,
        database: Database,
        packs: Packs,
        limits: GuardLimits,
        zone: tzinfo,
        admission: Admission | None = None,
    ) -> None:
        admission = admission or Admission()
        entry = Entry(database, packs, limits, admission)
        self._means = _Means(database=database, packs=packs, limits=limits, zone=zone, admission=admission, entry=entry)

    def writer(self, access: Access) -> PackWriter:
        """A pack that several calls of ``receive`` may share, e.g. one association's."""
        return self._means.packs.writer(access.tenant)

    def session(self, access: Access, *, pack: PackWriter | None = None, study: str = "") -> "Session":
        """Takes instances piece by piece; raises Forbidden. Use as a context manager."""
        access.require("write")
        return Session(self._means, access, pack, study)

    def receive(
        self, access: Access, instances: Iterable[Received], *, pack: PackWriter | None = None, study: str = ""
    ) -> Outcome:
        """Stores what is sound; ``study`` refuses instances of any other study.

        Raises Forbidden, and Unavailable when disk or database don't confirm; then nothing of the last batch is stored.
        """
        with self.session(access, pack=pack, study=study) as session:
            for received in instances:
                session.begin(received.sop_class, received.sop_instance)
                for chunk in received.chunks:
                    session.data(chunk)
                session.end()
            return session.finish()


class Session:
    """The instances of one request: ``begin``, ``data`` as often as needed and ``end`` for each, then ``finish``."""

    def __init__(self, means: _Means, access: Access, pack: PackWriter | None, study: str) -> None:
        self._means = means
        self._access = access
        self._study = study
        self._given = pack
        self._pack = pack
        #: What of the current instance is not in the pack yet.
        self._held: Held | None = None
        self._outcome = Outcome()
        self._candidates: dict[str, Candidate] = {}
        self._taken = 0
        #: Why this sender may store nothing now.
        self._no_room: BadInstance | None = None
        self._current = _Incoming()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Gives the pack back; what was not committed is forgotten."""
        if self._given is None and self._pack is not None:
            self._means.packs.give_back(self._pack)
            self._pack = None
        buffer, self._held = self._held, None
        if buffer is not None:
            held.give_back(buffer)

    def begin(self, sop_class: str = "", sop_instance: str = "") -> None:
        """An instance comes; ``sop_class`` and ``sop_instance`` where the protocol names them."""
        if not self._taken:
            # Nothing becomes durable that nobody could enter.
            self._means.database.reach()
            self._no_room = self._means.admission.check_room(self._means.database, self._access)
        self._taken += 1
        self._current = _Incoming(sop_class=sop_class, sop_instance=sop_instance, error=self._no_room)

    def data(self, piece: bytes | memoryview) -> None:
        """More of the instance's file, taken over at once; raises Unavailable when the disk takes no more."""
        current = self._current
        if current.error is not None:
            return
        current.length += len(piece)
        if current.length > self._means.limits.instance_bytes:
            self._refuse(guard.too_large(self._means.limits))
            return
        if self._held is None:
            self._held = held.take()
        if not self._held.add(piece):
            self.spill()
            if not self._held.add(piece):
                self._write(piece)

    def end(self) -> Accepted | Refused:
        """The instance is whole: it is checked, and waits in the pack for its transaction.

        Gives what it is, or why it is refused already; what became of it is told by ``finish``.
        """
        ended: Accepted | Refused
        try:
            if self._current.error is not None:
                raise self._current.error
            candidate = self._candidate()
            ended = candidate.accepted
            first = self._candidates.get(ended.sop_instance)
            if first is None:
                self._candidates[ended.sop_instance] = candidate
            else:
                before = len(self._outcome.refused)
                self._means.entry.settle_twice(self._open_pack(), first, candidate, self._outcome)
                ended = next(iter(self._outcome.refused[before:]), ended)
        except BadInstance as error:
            self._refuse(error)
            ended = refusal(error, self._current.sop_class, self._current.sop_instance)
            self._outcome.refused.append(ended)
        self._current = _Incoming()
        if self._taken >= BATCH:
            self._commit()
        return ended

    def refuse(self, error: BadInstance, sop_class: str = "", sop_instance: str = "") -> None:
        """Notes an instance that could not even be received."""
        self._outcome.refused.append(refusal(error, sop_class, sop_instance))

    def abandon(self) -> None:
        """The instance does not come to its end: nothing of it is kept, and nobody is told."""
        if self._current.error is None:
            self._refuse(BadInstance("The instance was cut off; send it again."))
        self._current = _Incoming()

    def finish(self) -> Outcome:
        """Commits what is not yet; what became of each instance. Raises Unavailable; then nothing of it is stored."""
        self._commit()
        return self._outcome

    def _commit(self) -> None:
        self._taken = 0
        if self._candidates:
            candidates, self._candidates = self._candidates, {}
            self._means.entry.commit(self._access, self._open_pack(), candidates, self._outcome)

    def _open_pack(self) -> PackWriter:
        if self._pack is None:
            self._pack = self._means.packs.take(self._access.tenant)
        return self._pack

    def spill(self) -> None:
        """Puts what is held of the instance into the pack: long ones of themselves, others where memory is short."""
        if self._current.error is not None:
            return
        if self._held is not None and self._held.length:
            with self._held.view() as piece:
                self._write(piece)
            self._held.clear()

    def _write(self, piece: bytes | memoryview) -> None:
        """Puts the next piece of the instance into the pack."""
        current, pack = self._current, self._open_pack()
        current.digest.update(piece)
        pack.append(piece)
        current.written += len(piece)
        if pack.position - pack.synced > _SYNC_EVERY:
            pack.start_sync()

    def _refuse(self, error: BadInstance) -> None:
        """Takes back what is in the pack of the current instance."""
        current = self._current
        # Without the way that it came, which holds on to what was read there.
        current.error = error.with_traceback(None)
        if self._held is not None:
            self._held.clear()
        if current.written:
            pack = self._open_pack()
            pack.forget(pack.position - current.written)
            current.written = 0

    def _candidate(self) -> Candidate:
        """Checks the instance and appends it; raises BadInstance."""
        current, limits = self._current, self._means.limits
        if not current.length:
            raise BadInstance("The instance is empty; send a DICOM Part 10 file.")
        pack = self._open_pack()
        if current.written:
            self.spill()
            start = pack.position - current.length
            view, at = pack.view(start)
            with view:
                sound = guard.check(view, at, at + current.length, limits, self._means.memo)
            self._agree(sound)
        elif self._held is not None:
            sound = guard.check(self._held.buffer, 0, current.length, limits, self._means.memo)
            self._agree(sound)
            start = pack.position
            self.spill()
        return self._described(sound, pack, start)

    def _described(self, sound: Sound, pack: PackWriter, start: int) -> Candidate:
        access, zone = self._access, self._means.zone
        place = Place(
            pack=pack.pack,
            offset=start,
            length=self._current.length,
            digest=self._current.digest.digest(),
            sender=access.who,
        )
        accepted = Accepted(
            sop_class=sound.sop_class, sop_instance=sound.sop_instance, series=sound.series, study=sound.study
        )
        return Candidate(
            accepted=accepted,
            row=instance_row(sound, place),
            patient=patient_id(access.tenant, sound.attributes, sound.study),
            rows=partial(rows, sound, access.tenant, zone),
        )

    def _agree(self, sound: Sound) -> None:
        """The data set against what the protocol said of it."""
        if self._study and sound.study != self._study:
            raise BadInstance(
                "The instance belongs to another study than the one addressed.", expression="0020000D", reason=0xA900
            )
        said = self._current.sop_instance or sound.sop_instance, self._current.sop_class or sound.sop_class
        if said != (sound.sop_instance, sound.sop_class):
            raise BadInstance(
                "The request names another SOP Class or Instance UID than the data set.",
                expression="00080018",
                reason=0xA900,
            )


class _Incoming:
    """The instance that is being received."""

    __slots__ = ("digest", "error", "length", "sop_class", "sop_instance", "written")

    def __init__(self, sop_class: str = "", sop_instance: str = "", error: BadInstance | None = None) -> None:
        self.sop_class = sop_class
        self.sop_instance = sop_instance
        #: Why it is refused already; the rest of it is not kept.
        self.error = error
        self.length = 0
        #: Bytes of it that are in the pack.
        self.written = 0
        self.digest = digests.new()
