"""The one door for DICOM instances, whoever brings them: STOW-RS, C-STORE, import, our own results.

Guard, bytes into a pack, one fsync, then one transaction: pack, patient, study, series and instance rows, counts,
audit and study activity. What is answered as stored is durable. An instance that is stored already is success and
changes nothing; another content under a known SOP Instance UID is refused and the first copy kept.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import tzinfo
from itertools import islice

from server.errors import BadInstance, Conflict, DuplicateInstance, Unavailable
from server.imaging import guard
from server.imaging.admission import LOCKED, Admission
from server.imaging.guard import GuardLimits, Sound
from server.imaging.index import Place, Rows, rows
from server.imaging.sameness import content_digest
from server.security.access import Access
from server.store import instances as store
from server.store.arrivals import Arrival, Arrivals
from server.store.database import Database, UnitOfWork
from server.store.packs import Packs, PackWriter

#: Instances of one request that are committed together; a longer request is committed piece by piece.
BATCH = 256
#: Tries of one transaction.
_ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """One instance on its way in: the bytes of a Part 10 file, in pieces of any size."""

    chunks: Iterable[bytes]
    #: What the sender says it is, where the protocol names it; the data set must agree.
    sop_class: str = ""
    sop_instance: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """An instance that is durably stored."""

    sop_class: str
    sop_instance: str
    series: str
    study: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """An instance that is not stored, and why."""

    #: As far as they could be read.
    sop_class: str
    sop_instance: str
    #: Failure Reason (0008,1197).
    reason: int
    details: str
    #: Tag path of the place.
    expression: str = ""


@dataclass(kw_only=True, slots=True)
class Outcome:
    """What became of each instance, in the order received within each list."""

    stored: list[Accepted] = field(default_factory=list)
    already: list[Accepted] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Candidate:
    """An instance whose bytes are in the pack and whose rows are ready."""

    accepted: Accepted
    rows: Rows


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
        self._database = database
        self._packs = packs
        self._limits = limits
        self._zone = zone
        self._admission = admission or Admission()
        self._arrivals = Arrivals(database)

    def writer(self, access: Access) -> PackWriter:
        """A pack that several calls of ``receive`` may share, e.g. one association's."""
        return self._packs.writer(access.tenant)

    def receive(
        self, access: Access, instances: Iterable[Received], *, pack: PackWriter | None = None, study: str = ""
    ) -> Outcome:
        """Stores what is sound; ``study`` refuses instances of any other study.

        Raises Forbidden, and Unavailable when disk or database don't confirm; then nothing of the last batch is stored.
        """
        access.require("write")
        outcome = Outcome()
        source = iter(instances)
        while True:
            if pack is not None:
                went_on = self._batch(access, source, pack, study, outcome)
            else:
                with self._packs.lend(access.tenant) as own:
                    went_on = self._batch(access, source, own, study, outcome)
            if not went_on:
                return outcome

    def _batch(
        self, access: Access, source: Iterator[Received], pack: PackWriter, study: str, outcome: Outcome
    ) -> bool:
        """Takes up to BATCH instances through guard, pack and transaction; whether there may be more."""
        candidates: dict[str, _Candidate] = {}
        taken = 0
        no_room = self._admission.check_room(self._database, access)
        for received in islice(source, BATCH):
            taken += 1
            try:
                if no_room is not None:
                    raise no_room
                candidate = self._write(access, received, pack, study)
                first = candidates.get(candidate.accepted.sop_instance)
                if first is None:
                    candidates[candidate.accepted.sop_instance] = candidate
                    continue
                self._settle_twice(pack, first, candidate, outcome)
            except BadInstance as error:
                outcome.refused.append(_refusal(error, received))
        if candidates:
            self._commit(access, pack, candidates, outcome)
        return taken == BATCH

    def _write(self, access: Access, received: Received, pack: PackWriter, study: str) -> _Candidate:
        """Appends one instance and checks it; takes it back out of the pack where it is refused."""
        start, digest = pack.position, hashlib.sha256()
        try:
            for chunk in received.chunks:
                pack.append(chunk)
                digest.update(chunk)
                if pack.position - start > self._limits.instance_bytes:
                    raise guard.too_large(self._limits)
            sound = self._check(pack, start)
            _agree(sound, received, study)
        except BadInstance:
            pack.take_back(start)
            raise
        place = Place(
            pack=pack.pack,
            offset=start,
            length=pack.position - start,
            sha256=digest.digest(),
            sender=access.who,
        )
        accepted = Accepted(
            sop_class=sound.sop_class, sop_instance=sound.sop_instance, series=sound.series, study=sound.study
        )
        return _Candidate(accepted=accepted, rows=rows(sound, access.tenant, self._zone, place))

    def _check(self, pack: PackWriter, start: int) -> Sound:
        if pack.position == start:
            raise BadInstance("The instance is empty; send a DICOM Part 10 file.")
        view, at = pack.view(start)
        with view:
            return guard.check(view, at, at + pack.position - start, self._limits)

    def _settle_twice(self, pack: PackWriter, first: _Candidate, second: _Candidate, outcome: Outcome) -> None:
        """One UID twice in a request: compared in the pack, and the second taken back out of it."""
        one, two = first.rows.instance, second.rows.instance
        same = one.sha256 == two.sha256
        if not same:
            view, at = pack.view(one.pack_offset)
            with view:
                other = at + two.pack_offset - one.pack_offset
                same = content_digest(view, at, at + one.length, self._limits) == content_digest(
                    view, other, other + two.length, self._limits
                )
        pack.take_back(two.pack_offset)
        if same:
            outcome.already.append(second.accepted)
        else:
            outcome.refused.append(_refusal(_DUPLICATE, second.accepted))

    def _commit(self, access: Access, pack: PackWriter, candidates: dict[str, _Candidate], outcome: Outcome) -> None:
        start = pack.synced
        # Nothing becomes durable that nobody could enter.
        self._arrivals.reach()
        pack.sync()
        arrivals = [Arrival(row=c.rows.instance, patient=c.rows.patient.patient) for c in candidates.values()]
        new = self._arrivals.add(access.tenant, arrivals)
        outcome.stored += [candidates[uid].accepted for uid in candidates if uid in new]
        if len(new) == len(candidates):
            return
        stored = len(outcome.stored)
        self._commit_odd(access, pack, {uid: c for uid, c in candidates.items() if uid not in new}, outcome)
        if not new and len(outcome.stored) == stored:
            pack.forget(start)

    def _commit_odd(
        self, access: Access, pack: PackWriter, candidates: dict[str, _Candidate], outcome: Outcome
    ) -> None:
        """Those that open a series, are stored already, or contradict what is."""
        with self._database.unit_of_work() as uow:
            fresh = self._settle_known(uow, access, pack, candidates, outcome)
        if not fresh:
            return
        settled = self._enter_patiently(access, pack, fresh)
        outcome.stored += settled.stored
        outcome.already += settled.already
        outcome.refused += settled.refused

    def _enter_patiently(self, access: Access, pack: PackWriter, fresh: list[_Candidate]) -> Outcome:
        """The transaction, again where another was in its way."""
        for _attempt in range(_ATTEMPTS):
            settled = Outcome()
            try:
                with self._database.unit_of_work() as uow:
                    self._enter(uow, access, pack, fresh, settled)
            except Conflict:
                continue
            return settled
        raise Unavailable("Too many senders changed the same study at once; send again.")

    def _settle_known(
        self, uow: UnitOfWork, access: Access, pack: PackWriter, candidates: dict[str, _Candidate], outcome: Outcome
    ) -> list[_Candidate]:
        """Sorts out what is stored already; gives the rest."""
        known = store.known(uow, access.tenant, candidates)
        fresh: list[_Candidate] = []
        for uid, candidate in candidates.items():
            if uid not in known:
                fresh.append(candidate)
                continue
            try:
                self._compare_stored(access, pack, known[uid], candidate)
                outcome.already.append(candidate.accepted)
            except DuplicateInstance as error:
                outcome.refused.append(_refusal(error, candidate.accepted))
        return fresh

    def _compare_stored(self, access: Access, pack: PackWriter, known: store.Known, candidate: _Candidate) -> None:
        """Raises DuplicateInstance unless the candidate says the same as what is stored."""
        row = candidate.rows.instance
        if known.sha256 == row.sha256:
            return
        if (known.study, known.series) != (row.study, row.series):
            _same_or_refuse(False)
        stored = self._packs.read(access.tenant, known.pack, known.pack_offset, known.length)
        view, at = pack.view(row.pack_offset)
        with view:
            mine = content_digest(view, at, at + row.length, self._limits)
        _same_or_refuse(mine == content_digest(stored, 0, len(stored), self._limits))

    def _enter(
        self, uow: UnitOfWork, access: Access, pack: PackWriter, fresh: list[_Candidate], outcome: Outcome
    ) -> None:
        """The transaction: every row that the new instances cause."""
        tenant = access.tenant
        looked = self._admission.look(uow, access, [c.rows.instance for c in fresh])
        for candidate in fresh:
            if (error := looked.refused.get(candidate.accepted.sop_instance)) is not None:
                outcome.refused.append(_refusal(error, candidate.accepted))
        fresh = [c for c in fresh if c.accepted.sop_instance not in looked.refused]
        # Of several instances of a study the first received speaks for it, hence the reversed order below.
        store.add_pack(uow, tenant, pack.pack)
        store.add(uow, tenant, list({c.rows.patient.patient: c.rows.patient for c in reversed(fresh)}.values()))
        store.add(uow, tenant, list({c.rows.study.study: c.rows.study for c in reversed(fresh)}.values()))
        patients = store.lock_studies(uow, tenant, {c.rows.study.study for c in fresh})
        _not_deleted(patients, {c.rows.study.study for c in fresh})
        fresh = _keep(fresh, lambda c: patients[c.rows.study.study] == c.rows.study.patient, _OTHER_PATIENT, outcome)
        locked = self._admission.locked(uow, access, patients)
        fresh = _keep(fresh, lambda c: c.rows.study.study not in locked, LOCKED, outcome)
        store.add(uow, tenant, list({c.rows.series.series: c.rows.series for c in reversed(fresh)}.values()))
        studies = store.studies_of_series(uow, tenant, {c.rows.series.series for c in fresh})
        _not_deleted(studies, {c.rows.series.series for c in fresh})
        fresh = _keep(fresh, lambda c: studies[c.rows.series.series] == c.rows.series.study, _OTHER_STUDY, outcome)
        added = store.add(uow, tenant, [c.rows.instance for c in fresh])
        new = [c.rows.instance for c in fresh if c.accepted.sop_instance in added]
        outcome.stored += [c.accepted for c in fresh if c.accepted.sop_instance in added]
        # Somebody else committed these between our look and our insert.
        late = {c.accepted.sop_instance: c for c in fresh if c.accepted.sop_instance not in added}
        if late:
            self._settle_known(uow, access, pack, late, outcome)
        if new:
            store.count(uow, tenant, new)
            store.touch(uow, tenant, (row.study for row in new))
            store.note_stored(uow, tenant, access.who, [row.instance for row in new])
            self._admission.settle(uow, access, new, looked.late)


_DUPLICATE = DuplicateInstance(
    "Another instance with this SOP Instance UID is stored; the first is kept. Send changed content under a new UID.",
    expression="00080018",
)
_OTHER_PATIENT = BadInstance(
    "Its Study Instance UID belongs to a study of another patient; correct Patient ID and Issuer, or the UID.",
    expression="0020000D",
    reason=0x0110,
)
_OTHER_STUDY = BadInstance(
    "Its Series Instance UID belongs to a series of another study; correct the UID.",
    expression="0020000E",
    reason=0x0110,
)


def _not_deleted(found: Mapping[str, str], wanted: Set[str]) -> None:
    """Raises Conflict where a study was deleted between our look and our hold: what is refused must be so for good."""
    if wanted - found.keys():
        raise Conflict("The study or series was deleted at this moment; send again.")


def _keep(
    candidates: list[_Candidate], fits: Callable[[_Candidate], bool], error: BadInstance, outcome: Outcome
) -> list[_Candidate]:
    """Those that fit; the others are refused with ``error``."""
    outcome.refused += [_refusal(error, c.accepted) for c in candidates if not fits(c)]
    return [c for c in candidates if fits(c)]


def _same_or_refuse(same: bool) -> None:
    if not same:
        raise _DUPLICATE


def _agree(sound: Sound, received: Received, study: str) -> None:
    """The data set against what the protocol said of it."""
    if study and sound.study != study:
        raise BadInstance(
            "The instance belongs to another study than the one addressed.", expression="0020000D", reason=0xA900
        )
    said = received.sop_instance or sound.sop_instance, received.sop_class or sound.sop_class
    if said != (sound.sop_instance, sound.sop_class):
        raise BadInstance(
            "The request names another SOP Class or Instance UID than the data set.",
            expression="00080018",
            reason=0xA900,
        )


def _refusal(error: BadInstance | DuplicateInstance, what: Received | Accepted) -> Refused:
    return Refused(
        sop_class=what.sop_class,
        sop_instance=what.sop_instance,
        reason=error.reason,
        details=error.details,
        expression=error.issues[0].expression,
    )
