"""Studies fetched from peers: on request, and prior studies by the rules of the settings.

What is fetched as a prior wakes no adapter and is sent on to nobody: its ImagingStudy says that it is one.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import orjson

from server.errors import BadRequest, HutongError, NotFound, Unreachable
from server.imaging import attributes as read
from server.imaging.dataset import Attributes
from server.outbound.dicomweb import uid_path
from server.security.access import Access
from server.settings import Peer, Priors
from server.store import audit, deliveries, instances
from server.store import fetches as store
from server.store.database import Database
from server.store.fetches import Fetch, Subject
from server.workflow.conditions import Test, tests
from server.workflow.deliver import LONGEST_PAUSE, LONGEST_PEER_PAUSE
from server.workflow.forward import FETCHED, senders_of
from server.workflow.peer_archive import PeerArchive
from server.workflow.peer_threads import PeerThreads, pause
from server.workflow.priors import STUDY_KEYS, Candidate, Wish, candidate_of, choose

#: The job that looks for priors; its arguments are tenant, study, rule and peer.
FIND_PRIORS = "find-priors"


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A request for studies of a patient, or for one study."""

    study: str = ""
    patient_id: str = ""
    issuer: str = ""
    wish: Wish = field(default_factory=Wish)
    #: Whether adapters are to see what comes as any new study.
    analyse: bool = False
    #: Whether the peer is only asked.
    only_look: bool = False


@dataclass(frozen=True, kw_only=True)
class Fetcher:
    """Everything that fetching needs."""

    database: Database
    archive: PeerArchive
    peers: tuple[Peer, ...]
    rules: tuple[Priors, ...] = ()
    _ending: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Raises BadRequest that names a rule's mistake."""
        check_priors(self.rules, self.peers)

    def request(self, access: Access, peer: str, asked: Asked) -> list[Candidate]:
        """Asks for what was chosen; gives every candidate. Raises NotFound, Unavailable, Unprocessable, BadRequest."""
        access.require("write")
        there = self._peer(peer)
        if asked.study:
            uid_path(asked.study)
            answers = self.archive.studies(there, {"StudyInstanceUID": asked.study}, STUDY_KEYS)
            found = [replace(candidate_of(answer), chosen=True) for answer in answers]
            found = [one for one in found if one.study == asked.study]
            if not found:
                raise NotFound(f"The peer {peer} has no such study.", expression="study")
        elif asked.patient_id:
            found = self._of_patient(access.tenant, there, asked)
        else:
            raise BadRequest("Name a study or a patient.", expression="study")
        if not asked.only_look:
            self._ask(access, there, found, prior=not asked.analyse)
        return found

    def lines(self, access: Access) -> Sequence[store.Line]:
        """What was asked for, the newest first."""
        access.require("read")
        with self.database.reading() as uow:
            return store.lines(uow, access.tenant)

    def quiet(self, tenant: int, study: str) -> None:
        """Defers the search for priors of a study that has become quiet, where a rule wants some."""
        if not self.rules:
            return
        with self.database.unit_of_work() as uow:
            if store.is_prior(uow, tenant, study):
                return
            headers = [orjson.loads(header) for header in store.series_headers(uow, tenant, study)]
            for rule in self.rules:
                fits = _tests(rule)
                if any(all(test(header) for test in fits) for header in headers):
                    for peer in _asked_by(rule, self.peers):
                        uow.defer(FIND_PRIORS, queue="fetch", tenant=tenant, study=study, rule=rule.name, peer=peer)

    def find_priors(self, tenant: int, study: str, rule: str, peer: str) -> None:
        """Asks a peer for priors of a study, and queues those that the rule chooses and nobody asked for before."""
        chosen = next((one for one in self.rules if one.name == rule), None)
        there = next((one for one in self.peers if one.name == peer), None)
        with self.database.reading() as uow:
            subject = store.subject(uow, tenant, study)
        if chosen is None or there is None or subject is None or not subject.patient_id:
            return
        wish = Wish(
            number=chosen.number, modalities=chosen.modalities, description=chosen.description,
            body_parts=chosen.body_parts, days=chosen.days,
        )  # fmt: skip
        answers = self.archive.studies(there, {"PatientID": subject.patient_id}, STUDY_KEYS)
        found = self._judged(tenant, there, answers, subject, wish, own=study)
        access = Access(who=f"rule:{rule}", tenant=tenant, scopes=frozenset({"read", "write"}))
        self._ask(access, there, found, prior=True, for_study=study, again=False)

    def run(self, stopping: threading.Event) -> None:
        """Fetches what is asked for until the event is set."""
        PeerThreads(
            database=self.database, peers=self.peers, only_one=store.only_one, free_all=store.free_all,
            due=store.due, step=self.step, ending=self._ending,
        ).run(stopping)  # fmt: skip

    def step(self, peer: Peer, slot: int = 0) -> bool:
        """Fetches the study that comes first; False where none is due."""
        with self.database.unit_of_work() as uow:
            fetch = store.claim(uow, peer.name, slot)
        if fetch is None:
            return False
        access = Access(who=f"{FETCHED}{peer.name}", tenant=fetch.tenant, scopes=frozenset({"read", "write"}))
        try:
            fetched = self.archive.fetch(access, peer, fetch.study)
        except NotFound as error:
            self._settle(fetch, "failed", error=error.details)
        except Unreachable as error:
            self._unreachable(fetch, error)
        except HutongError as error:
            self._settle(fetch, "waiting", error=error.details, seconds=pause(fetch.attempts, LONGEST_PAUSE))
        else:
            self._settle(fetch, "done", error=fetched.refused, instances=fetched.instances)
        return True

    def _settle(self, fetch: Fetch, state: str, *, error: str = "", seconds: float = 0, instances: int = 0) -> None:
        with self.database.unit_of_work() as uow:
            if state == "done":
                deliveries.reached(uow, fetch.tenant, fetch.peer)
            store.settle(uow, fetch, state, error=error, pause=seconds, instances=instances)

    def _unreachable(self, fetch: Fetch, error: HutongError) -> None:
        """The peer is left alone, by those who send as well."""
        with self.database.unit_of_work() as uow:
            tries = deliveries.failures(uow, fetch.tenant, fetch.peer)
            seconds = pause(tries, LONGEST_PEER_PAUSE)
            deliveries.unreachable(uow, fetch.tenant, fetch.peer, error.details, seconds)
            store.settle(uow, fetch, "waiting", error=error.details)

    def _of_patient(self, tenant: int, peer: Peer, asked: Asked) -> list[Candidate]:
        answers = self.archive.studies(peer, {"PatientID": asked.patient_id}, STUDY_KEYS)
        issuers = {read.text(one, "00100021") for one in answers if read.text(one, "00100020") == asked.patient_id}
        if not asked.issuer and len(issuers) > 1:
            raise BadRequest(
                f"{len(issuers)} issuers gave out this Patient ID at {peer.name}; name the one that is meant.",
                expression="issuer",
            )
        issuer = asked.issuer or next(iter(issuers), "")
        subject = Subject(patient_id=asked.patient_id, issuer=issuer, birth_date="", sex="", study_date="")
        return self._judged(tenant, peer, answers, subject, asked.wish, own="")

    def _judged(
        self, tenant: int, peer: Peer, answers: Sequence[Attributes], subject: Subject, wish: Wish, *, own: str
    ) -> list[Candidate]:
        with self.database.reading() as uow:
            here = store.stored(uow, tenant, [read.text(answer, "0020000D") for answer in answers])
        return choose(
            answers, subject, wish, here=here, own=own,
            body_parts=lambda study: self.archive.body_parts(peer, study),
        )  # fmt: skip

    def _ask(
        self, access: Access, peer: Peer, found: Sequence[Candidate], *, prior: bool, for_study: str = "",
        again: bool = True,
    ) -> None:  # fmt: skip
        """Queues what was chosen; ``again`` also what was asked for before."""
        chosen = [one.study for one in found if one.chosen]
        with self.database.unit_of_work() as uow:
            before = frozenset[str]() if again else store.asked(uow, access.tenant, peer.name, chosen)
            if not prior:
                # A prior that is here already becomes a study like any other, though nothing new of it comes.
                instances.touch(uow, access.tenant, store.stored(uow, access.tenant, chosen))
            for study in chosen:
                if study not in before:
                    store.request(
                        uow, access.tenant, peer=peer.name, study=study, by=access.who, prior=prior,
                        for_study=for_study, senders=senders_of(peer),
                    )  # fmt: skip
                    audit.note_read(uow, access.tenant, access.who, "fetch", "ImagingStudy", study)

    def _peer(self, name: str) -> Peer:
        found = next((one for one in self.peers if one.name == name), None)
        if found is None:
            raise NotFound(f"There is no peer '{name}' in the settings.", expression="peer")
        return found


def check_priors(rules: Sequence[Priors], peers: Sequence[Peer]) -> None:
    """Raises BadRequest that names the rule which could never fit."""
    for rule in rules:
        _tests(rule)
        if not _asked_by(rule, peers):
            raise BadRequest(
                f"The rule '{rule.name}' asks '{rule.peer}', which is no peer of the settings."
                if rule.peer
                else f"The rule '{rule.name}' asks every peer with query = true, and there is none.",
                expression="priors",
            )


def _asked_by(rule: Priors, peers: Sequence[Peer]) -> list[str]:
    """The peers that a rule asks."""
    return [peer.name for peer in peers if (peer.name == rule.peer if rule.peer else peer.query)]


def _tests(rule: Priors) -> tuple[Test, ...]:
    return tests(rule.match, setting="priors", rule=rule.name)
