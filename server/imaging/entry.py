"""Instances whose bytes are in a pack, into the index: new ones, known ones, and those that contradict it."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from server.errors import BadInstance, Conflict, DuplicateInstance, Unavailable
from server.imaging import extended_tags
from server.imaging.admission import LOCKED, Admission
from server.imaging.extended_tags import values_of
from server.imaging.guard import GuardLimits
from server.imaging.index import Rows
from server.imaging.outcome import Accepted, Outcome, Refused, refusal
from server.imaging.sameness import content_digest
from server.security.access import Access
from server.store import instances as store
from server.store.arrivals import Arrival, Arrivals
from server.store.database import Database, UnitOfWork
from server.store.instances import InstanceRow
from server.store.packs import Packs, PackWriter

#: Tries of one transaction.
_ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """An instance whose bytes are in the pack."""

    accepted: Accepted
    row: InstanceRow
    #: Id of the patient that it says it is of.
    patient: str
    #: Makes the rows of patient, study and series; needed for the first instance of a series alone.
    rows: Callable[[], Rows]


class Entry:
    """Enters instances, each request's and association's alike."""

    def __init__(self, database: Database, packs: Packs, limits: GuardLimits, admission: Admission) -> None:
        self._database = database
        self._packs = packs
        self._limits = limits
        self._admission = admission
        self._arrivals = Arrivals(database)
        self._declared = extended_tags.Declarations(database)

    def settle_twice(self, pack: PackWriter, first: Candidate, second: Candidate, outcome: Outcome) -> None:
        """One UID twice in a request: compared in the pack, and the second taken back out of it."""
        one, two = first.row, second.row
        view, at = pack.view(one.pack_offset)
        with view:
            other = at + two.pack_offset - one.pack_offset
            same = view[at : at + one.length] == view[other : other + two.length]
            same = same or content_digest(view, at, at + one.length, self._limits) == content_digest(
                view, other, other + two.length, self._limits
            )
        pack.forget(two.pack_offset)
        if same:
            outcome.already.append(second.accepted)
        else:
            outcome.refused.append(_refused(_DUPLICATE, second.accepted))

    def commit(self, access: Access, pack: PackWriter, candidates: dict[str, Candidate], outcome: Outcome) -> None:
        start = min(c.row.pack_offset for c in candidates.values())
        if not pack.is_noted:
            with self._database.unit_of_work() as uow:
                store.add_pack(uow, access.tenant, pack.pack)
            pack.is_noted = True
        arrivals = self._arriving(access.tenant, candidates.values())
        new = self._arrivals.add(access.tenant, arrivals, pack.sync)
        outcome.stored += [candidates[uid].accepted for uid in candidates if uid in new]
        if len(new) == len(candidates):
            return
        stored = len(outcome.stored)
        self._commit_odd(access, pack, {uid: c for uid, c in candidates.items() if uid not in new}, outcome)
        if not new and len(outcome.stored) == stored:
            pack.forget(start)

    def _arriving(self, tenant: int, candidates: Iterable[Candidate]) -> list[Arrival]:
        known = self._declared.known(tenant)
        return [
            Arrival(row=c.row, patient=c.patient, values=values_of(known.tags, c.row), declared=known.numbers)
            for c in candidates
        ]

    def _commit_odd(self, access: Access, pack: PackWriter, candidates: dict[str, Candidate], outcome: Outcome) -> None:
        """Those that open a series, are stored already, or contradict what is."""
        with self._database.unit_of_work() as uow:
            fresh = self._settle_known(uow, access, pack, candidates, outcome)
        if not fresh:
            return
        settled = self._enter_patiently(access, pack, fresh)
        outcome.stored += settled.stored
        outcome.already += settled.already
        outcome.refused += settled.refused

    def _enter_patiently(self, access: Access, pack: PackWriter, fresh: list[Candidate]) -> Outcome:
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
        self, uow: UnitOfWork, access: Access, pack: PackWriter, candidates: dict[str, Candidate], outcome: Outcome
    ) -> list[Candidate]:
        """Sorts out what is stored already; gives the rest."""
        known = store.known(uow, access.tenant, candidates)
        fresh: list[Candidate] = []
        for uid, candidate in candidates.items():
            if uid not in known:
                fresh.append(candidate)
                continue
            try:
                self._compare_stored(access, pack, known[uid], candidate)
                outcome.already.append(candidate.accepted)
            except DuplicateInstance as error:
                outcome.refused.append(_refused(error, candidate.accepted))
        return fresh

    def _compare_stored(self, access: Access, pack: PackWriter, known: store.Known, candidate: Candidate) -> None:
        """Raises DuplicateInstance unless the candidate says the same as what is stored."""
        row = candidate.row
        if (known.study, known.series) != (row.study, row.series):
            _same_or_refuse(False)
        stored = self._packs.read(access.tenant, known.pack, known.pack_offset, known.length)
        view, at = pack.view(row.pack_offset)
        with view:
            if view[at : at + row.length] == stored:
                return
            mine = content_digest(view, at, at + row.length, self._limits)
        _same_or_refuse(mine == content_digest(stored, 0, len(stored), self._limits))

    def _enter(
        self, uow: UnitOfWork, access: Access, pack: PackWriter, fresh: list[Candidate], outcome: Outcome
    ) -> None:
        """The transaction: every row that the new instances cause."""
        tenant = access.tenant
        looked = self._admission.look(uow, access, [c.row for c in fresh])
        for candidate in fresh:
            if (error := looked.refused.get(candidate.accepted.sop_instance)) is not None:
                outcome.refused.append(_refused(error, candidate.accepted))
        fresh = [c for c in fresh if c.accepted.sop_instance not in looked.refused]
        headers = _headers(fresh)
        people = {h.patient.patient: h.patient for h in headers}
        studies_seen = {h.study.study: h.study for h in headers}
        came = store.add(uow, tenant, [*people.values()]), store.add(uow, tenant, [*studies_seen.values()])
        extended_tags.enter_names(uow, tenant, [people[k] for k in came[0]], [studies_seen[k] for k in came[1]])
        patients = store.lock_studies(uow, tenant, {c.row.study for c in fresh})
        _not_deleted(patients, {c.row.study for c in fresh})
        fresh = _keep(fresh, lambda c: patients[c.row.study] == c.patient, _OTHER_PATIENT, outcome)
        locked = self._admission.locked(uow, access, patients)
        fresh = _keep(fresh, lambda c: c.row.study not in locked, LOCKED, outcome)
        store.add(uow, tenant, list({h.series.series: h.series for h in _headers(fresh)}.values()))
        studies = store.studies_of_series(uow, tenant, {c.row.series for c in fresh})
        _not_deleted(studies, {c.row.series for c in fresh})
        fresh = _keep(fresh, lambda c: studies[c.row.series] == c.row.study, _OTHER_STUDY, outcome)
        added = store.add(uow, tenant, [c.row for c in fresh])
        new = [c.row for c in fresh if c.accepted.sop_instance in added]
        outcome.stored += [c.accepted for c in fresh if c.accepted.sop_instance in added]
        # Somebody else committed these between our look and our insert.
        late = {c.accepted.sop_instance: c for c in fresh if c.accepted.sop_instance not in added}
        if late:
            self._settle_known(uow, access, pack, late, outcome)
        if new:
            store.count(uow, tenant, new)
            store.touch(uow, tenant, (row.study for row in new))
            store.note_stored(uow, tenant, access.who, [row.instance for row in new])
            self._declared.enter(uow, tenant, new)
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


def _headers(candidates: Sequence[Candidate]) -> list[Rows]:
    """Rows of patient, study and series, last received first: of several the first received speaks for all."""
    first: dict[tuple[str, str, str], Candidate] = {}
    for candidate in candidates:
        first.setdefault((candidate.row.series, candidate.row.study, candidate.patient), candidate)
    return [candidate.rows() for candidate in reversed(first.values())]


def _not_deleted(found: Mapping[str, str], wanted: Set[str]) -> None:
    """Raises Conflict where a study was deleted between our look and our hold: what is refused must be so for good."""
    if wanted - found.keys():
        raise Conflict("The study or series was deleted at this moment; send again.")


def _keep(
    candidates: list[Candidate], fits: Callable[[Candidate], bool], error: BadInstance, outcome: Outcome
) -> list[Candidate]:
    """Those that fit; the others are refused with ``error``."""
    outcome.refused += [_refused(error, c.accepted) for c in candidates if not fits(c)]
    return [c for c in candidates if fits(c)]


def _same_or_refuse(same: bool) -> None:
    if not same:
        raise _DUPLICATE


def _refused(error: BadInstance | DuplicateInstance, accepted: Accepted) -> Refused:
    return refusal(error, accepted.sop_class, accepted.sop_instance)
