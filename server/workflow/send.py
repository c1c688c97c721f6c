"""Results on their way to peers: sent until the peer confirms them, with growing pauses and no end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from server.errors import HutongError
from server.imaging.retrieve import Retrieve
from server.security.access import system
from server.settings import Peer
from server.store import analyses
from server.store.database import Database
from server.telemetry import metrics
from server.workflow.images import StudyImages

#: Sends Part 10 files to a peer; raises a HutongError unless the peer confirmed every one.
Send = Callable[[Peer, Sequence[bytes]], None]


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Everything that the job send needs."""

    database: Database
    retrieve: Retrieve
    peers: tuple[Peer, ...]
    send: Send

    def run(self, tenant: int, peer: str, study: str) -> None:
        """Sends what the peer has not confirmed of a study; raises what it answered, so that it is tried again."""
        to = next((one for one in self.peers if one.name == peer), None)
        with self.database.reading() as uow:
            waiting = analyses.unsent(uow, tenant, peer, study)
        if to is None or not waiting:
            return
        images = StudyImages.of(self.retrieve, system(tenant), study)
        files = [self.retrieve.file(images.access, place) for place in images.located if place.instance in waiting]
        try:
            self.send(to, files)
        except HutongError as error:
            metrics.sent_instances.labels(peer=peer, outcome="failed").inc(len(files))
            with self.database.unit_of_work() as uow:
                analyses.not_sent(uow, tenant, peer, waiting, error.details)
            raise
        metrics.sent_instances.labels(peer=peer, outcome="sent").inc(len(files))
        with self.database.unit_of_work() as uow:
            analyses.sent(uow, tenant, peer, waiting)
