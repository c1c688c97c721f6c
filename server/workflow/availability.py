"""Peers told what has become available: an Instance Availability Notification for each study that became quiet."""

from collections.abc import Callable
from dataclasses import dataclass

from pydicom import Dataset

from server.imaging.availability import notification
from server.settings import Peer
from server.store.database import Database

#: The job that tells one peer; its arguments are ``tenant``, ``study`` and ``peer``.
ANNOUNCE = "announce-study"
#: Tries of it; with pauses of ten minutes at most they take a day and a half.
ATTEMPTS = 200

#: Tells a peer; raises a HutongError unless it acknowledged.
Tell = Callable[[Peer, Dataset], None]


@dataclass(frozen=True, kw_only=True)
class Announcer:
    """Everything that telling needs."""

    database: Database
    peers: tuple[Peer, ...]
    #: Our AE title, from which the instances can be retrieved.
    title: str
    tell: Tell

    def quiet(self, tenant: int, study: str) -> None:
        """Defers a job for each peer that wants to know."""
        names = [peer.name for peer in self.peers if peer.notify_availability and peer.ae_title]
        if names:
            with self.database.unit_of_work() as uow:
                for name in names:
                    lock = f"announce/{tenant}/{name}/{study}"
                    uow.defer(ANNOUNCE, queue="notify", lock=lock, tenant=tenant, study=study, peer=name)

    def run(self, tenant: int, study: str, peer: str) -> None:
        """Tells the peer what is here now; raises what it answered, so that it is tried again."""
        to = next((one for one in self.peers if one.name == peer), None)
        found = notification(self.database, tenant, study, title=self.title)
        if to is not None and found is not None:
            self.tell(to, found)
