"""The queue to peers as people see it and step in: list, retry, drop."""

from dataclasses import asdict, dataclass
from typing import Any

from server.errors import NotFound
from server.security.access import Access
from server.settings import Peer
from server.settings.forward import PRIORITIES
from server.store import audit
from server.store import forward as store
from server.store.database import Database, UnitOfWork


@dataclass(frozen=True, kw_only=True)
class DeliveryQueue:
    """What waits for which peer; only for administrators."""

    database: Database
    peers: tuple[Peer, ...]

    def list(self, access: Access, *, peer: str = "", everything: bool = False) -> dict[str, Any]:
        """Peers and deliveries; ``everything`` shows what is done and called off, too. No patient data."""
        access.require("admin")
        self._check(peer)
        with self.database.reading() as uow:
            states = {state.peer: state for state in store.peers(uow, access.tenant)}
            lines = store.lines(uow, access.tenant, peer=peer, everything=everything)
        names = sorted({one.name for one in self.peers} | set(states))
        unknown = store.PeerState(peer="", failures=0, next_try=None, last_error="", reached=None, waiting=0)
        known = {one.name for one in self.peers}
        return {
            "peers": [
                {**asdict(states.get(name, unknown)), "peer": name, "configured": name in known}
                for name in names
                if peer in ("", name)
            ],
            "deliveries": [_shown(line) for line in lines],
        }

    def retry(self, access: Access, *, number: int | None = None, peer: str = "") -> int:
        """Makes one delivery, a peer's or all due now; gives how many. What was dropped comes back by its number."""
        access.require("admin")
        self._check(peer)
        with self.database.unit_of_work() as uow:
            count = store.retry(uow, access.tenant, number=number, peer=peer)
            self._note(uow, access, "retry", number, count)
        return count

    def drop(self, access: Access, *, number: int | None = None, peer: str = "") -> int:
        """Calls off one delivery, or all that wait for a peer; gives how many."""
        access.require("admin")
        self._check(peer)
        with self.database.unit_of_work() as uow:
            count = store.drop(uow, access.tenant, number=number, peer=peer)
            self._note(uow, access, "drop", number, count)
        return count

    def _check(self, peer: str) -> None:
        # What waits for a peer that was taken out of the settings can still be looked at.
        if not peer or peer in {one.name for one in self.peers}:
            return
        with self.database.reading() as uow:
            if peer not in {state.peer for state in store.peers(uow, 1)}:
                raise NotFound(f"There is no peer '{peer}' in the settings.", expression="peer")

    def _note(self, uow: UnitOfWork, access: Access, action: str, number: int | None, count: int) -> None:
        if number is not None and not count:
            raise NotFound(f"Nothing waits under the number {number}; `hutong queue list` shows the numbers.")
        if count:
            audit.note_read(uow, access.tenant, access.who, action, "Delivery", "" if number is None else str(number))


def _shown(line: store.Line) -> dict[str, Any]:
    values = asdict(line)
    values["priority"] = PRIORITIES[values.pop("rank")]
    return values
