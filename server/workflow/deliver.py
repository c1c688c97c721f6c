"""The queue to peers, worked on for ever: each peer has threads of its own, so that a slow one slows nobody.

One process at a time does this. A peer that can't be reached is left alone for growing pauses, a delivery that it
refused likewise; both are tried again without end. Done twice after a crash, a delivery changes nothing at a peer that
tells instances by their UIDs.
"""

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from server.errors import HutongError, NotFound, Unreachable
from server.imaging.retrieve import Retrieve
from server.outbound.dimse.commitment import Report
from server.security.access import DEFAULT_TENANT, Access, system
from server.settings import Forward, Peer
from server.store import audit
from server.store import deliveries as store
from server.store.database import Database
from server.store.deliveries import Delivery
from server.store.forward import peers as peers_of
from server.store.studies import Located
from server.telemetry import metrics
from server.workflow.peer_threads import PeerThreads, pause
from server.workflow.send import Fate

#: Instances of a delivery that are sent before something more urgent gets its turn.
_TURN = 100
#: Longest pauses: before a peer is tried again, and a delivery that it refused; seconds.
LONGEST_PEER_PAUSE, LONGEST_PAUSE = 30.0, 900.0
#: Seconds after which a commitment that did not come is asked for again.
COMMITMENT_PATIENCE = 600.0

Carry = Callable[[Access, Peer, Sequence[Located], int], Iterator[list[Fate]]]
#: Asks a peer to keep instances, under a Transaction UID; gives its report where it comes at once.
Commit = Callable[[Peer, str, Sequence[Located]], Report | None]


@dataclass(frozen=True, kw_only=True)
class Deliverer:
    """Everything that working on the queue needs."""

    database: Database
    retrieve: Retrieve
    peers: tuple[Peer, ...]
    rules: tuple[Forward, ...]
    zone: ZoneInfo
    carry: Carry
    commit: Commit
    _ending: threading.Event = field(default_factory=threading.Event)

    def run(self, stopping: threading.Event) -> None:
        """Works until the event is set; waits where another process is at it. Raises what a thread raised."""
        PeerThreads(
            database=self.database, peers=self.peers, only_one=store.only_one, free_all=store.free_all,
            due=lambda uow, peers: store.due(uow, peers, self._closed()), step=self.step, ending=self._ending,
        ).run(stopping)  # fmt: skip

    def measure(self) -> None:
        """Tells the metrics how much waits for each peer, and which can't be reached."""
        with self.database.reading() as uow:
            states = {state.peer: state for state in peers_of(uow, DEFAULT_TENANT)}
        for peer in self.peers:
            state = states.get(peer.name)
            metrics.waiting_deliveries.labels(peer=peer.name).set(state.waiting if state else 0)
            metrics.unreached_peers.labels(peer=peer.name).set(state.failures if state else 0)

    def _closed(self) -> list[str]:
        """The rules outside their hours."""
        now = datetime.now(self.zone)
        return [rule.name for rule in self.rules if not rule.is_open(now.hour * 60 + now.minute)]

    def step(self, peer: Peer, slot: int = 0) -> bool:
        """Works on the delivery that comes first, for one turn; False where nothing is due."""
        with self.database.unit_of_work() as uow:
            delivery = store.claim(uow, peer.name, slot, self._closed())
        if delivery is None:
            return False
        try:
            if delivery.state == "committing":
                self._commit(peer, delivery)
            else:
                self._send(peer, delivery)
        except Unreachable as error:
            self._unreachable(peer, delivery, error)
        except HutongError as error:
            self._free(delivery, error.details)
        return True

    def _send(self, peer: Peer, delivery: Delivery) -> None:
        with self.database.reading() as uow:
            waiting = store.unsent(uow, delivery, _TURN)
        located = self._locate(delivery, waiting)
        refused = 0
        for fates in self.carry(system(delivery.tenant), peer, located, delivery.rank) if located else ():
            refused += self._note(peer, delivery, fates)
            if self._ending.is_set():
                break
        with self.database.unit_of_work() as uow:
            if located:
                store.reached(uow, delivery.tenant, peer.name)
                audit.note_read(uow, delivery.tenant, f"peer:{peer.name}", "forward", "ImagingStudy", delivery.study)
            least = store.least_tried(uow, delivery)
        if least is None and peer.commit:
            self._commit(peer, delivery)
        else:
            # What was not tried yet does not wait because of what was refused.
            self._free(
                delivery, f"The peer refused {refused} of {len(located)} instances." if refused and least else ""
            )

    def _locate(self, delivery: Delivery, waiting: Mapping[str, int]) -> list[Located]:
        """Where the instances are, those tried least first; those that are here no more are struck off."""
        try:
            found = self.retrieve.locate(system(delivery.tenant), delivery.study)
        except NotFound:
            found = []
        located = [place for place in found if place.instance in waiting]
        missing = set(waiting) - {place.instance for place in located}
        if missing:
            with self.database.unit_of_work() as uow:
                store.gone(uow, delivery, sorted(missing))
        return sorted(located, key=lambda place: waiting[place.instance])

    def _note(self, peer: Peer, delivery: Delivery, fates: Sequence[Fate]) -> int:
        """Keeps what is known; gives how many were refused."""
        arrived = {fate.instance: fate.note for fate in fates if fate.arrived}
        refused = {fate.instance: fate.note for fate in fates if not fate.arrived}
        with self.database.unit_of_work() as uow:
            if arrived:
                store.sent(uow, delivery, arrived)
            if refused:
                store.refused(uow, delivery, refused)
        metrics.sent_instances.labels(peer=peer.name, outcome="sent").inc(len(arrived))
        metrics.sent_instances.labels(peer=peer.name, outcome="failed").inc(len(refused))
        return len(refused)

    def _commit(self, peer: Peer, delivery: Delivery) -> None:
        """Asks for commitment to all that the peer has not committed itself to."""
        with self.database.reading() as uow:
            waiting = set(store.uncommitted(uow, delivery))
        try:
            found = self.retrieve.locate(system(delivery.tenant), delivery.study)
        except NotFound:
            found = []
        located = [place for place in found if place.instance in waiting]
        if not located:
            self._free(delivery)
            return
        transaction = f"2.25.{uuid.uuid4().int}"
        with self.database.unit_of_work() as uow:
            # Before the question: the answer may be quicker than we are.
            store.free(uow, delivery, transaction=transaction, pause=COMMITMENT_PATIENCE)
        report = self.commit(peer, transaction, located)
        if report is not None:
            reasons = {uid: f"not committed: Failure Reason {reason:04X}" for uid, reason in report.failed.items()}
            with self.database.unit_of_work() as uow:
                store.commitment_result(uow, delivery.tenant, transaction, report.committed, reasons)

    def _unreachable(self, peer: Peer, delivery: Delivery, error: HutongError) -> None:
        """The peer is left alone; the delivery stays where it is in its order."""
        with self.database.unit_of_work() as uow:
            tries = store.failures(uow, delivery.tenant, peer.name)
            store.unreachable(uow, delivery.tenant, peer.name, error.details, pause(tries, LONGEST_PEER_PAUSE))
            store.release(uow, delivery)

    def _free(self, delivery: Delivery, error: str = "") -> None:
        with self.database.unit_of_work() as uow:
            seconds = pause(delivery.attempts, LONGEST_PAUSE) if error else 0.0
            store.free(uow, delivery, error=error, pause=seconds)
