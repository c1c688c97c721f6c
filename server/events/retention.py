"""How long the event log is kept."""

from server.store import changes, events
from server.store.database import Database


def forget(database: Database, days: int) -> int:
    """Deletes acknowledged events and dispatched changes older than ``days``; gives how many rows went."""
    with database.unit_of_work() as uow:
        return events.forget(uow, days) + changes.forget(uow, days)
