"""Who is to be told next: looks at all subscriptions, and gives each that something is due for a thread.

One process at a time does this. A subscription has one thread at most, so its notifications keep their order. Those
that fail or are slow have threads of their own, and so slow nobody else.
"""

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from server.errors import HutongError
from server.events.notify import Notifier
from server.store import events
from server.store.database import Database, UnitOfWork
from server.store.events import Due

#: Seconds between two looks, and between two looks for subscriptions that ended.
_INTERVAL, _ENDED_INTERVAL = 0.05, 1.0
#: Seconds for a turn, which ends in time where each notification is quick, above which a subscriber counts as slow.
_SLOW = 1.0
#: Threads for those who answer quickly, and for all others.
_QUICK, _PATIENT = 12, 16
#: Seconds to leave a subscription alone when something of our own went wrong.
_PAUSE = 1.0

_log = logging.getLogger(__name__)
Key = tuple[int, str]


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """The notifications of all tenants."""

    database: Database
    notifier: Notifier
    _slow: set[Key] = field(default_factory=set)
    #: Until when a subscription is left alone.
    _waiting: dict[Key, float] = field(default_factory=dict)

    def run(self, stopping: threading.Event) -> None:
        """Works until the event is set; waits where another process is at it. Raises what a thread raised."""
        while not stopping.is_set():
            with self.database.unit_of_work() as uow:
                if events.only_one(uow):
                    self._work(uow, stopping)
            stopping.wait(1.0)

    def _work(self, uow: UnitOfWork, stopping: threading.Event) -> None:
        """Gives every subscription with something due a thread. ``uow`` holds the right, and writes nothing."""
        with ThreadPoolExecutor(_QUICK, "notify") as quick, ThreadPoolExecutor(_PATIENT, "notify-slow") as patient:
            lanes = (_Lane(quick, _QUICK), _Lane(patient, _PATIENT))
            looked = 0.0
            while not stopping.is_set():
                if time.monotonic() - looked > _ENDED_INTERVAL:
                    looked = time.monotonic()
                    events.only_one(uow)
                    self._end()
                self._look(lanes)
                stopping.wait(_INTERVAL)
                for lane in lanes:
                    lane.tidy()

    def _end(self) -> None:
        with self.database.reading() as uow:
            found = events.ended(uow)
        for tenant, id in found:
            try:
                self.notifier.end(tenant, id)
            except HutongError as error:
                _log.warning("subscription %s can't be ended now: %s", id, error.details)

    def _look(self, lanes: "tuple[_Lane, _Lane]") -> None:
        with self.database.reading() as uow:
            found = events.due(uow)
        now = time.monotonic()
        for one in found:
            key = (one.tenant, one.id)
            if any(key in lane.running for lane in lanes) or self._waiting.get(key, 0.0) > now:
                continue
            self._waiting.pop(key, None)
            lane = lanes[1 if one.failures or key in self._slow else 0]
            if lane.free:
                lane.running[key] = lane.threads.submit(self._tell, one)

    def _tell(self, one: Due) -> None:
        key, began = (one.tenant, one.id), time.monotonic()
        try:
            wait = self.notifier.run(*key)
        except HutongError as error:
            # The database is away, or somebody was quicker; what is to be told is not lost by that.
            _log.warning("subscription %s can't be told now: %s", one.id, error.details)
            wait = _PAUSE
        if wait:
            self._waiting[key] = time.monotonic() + wait
        (self._slow.add if time.monotonic() - began > _SLOW else self._slow.discard)(key)


@dataclass(frozen=True, slots=True)
class _Lane:
    """Threads for subscriptions of one kind."""

    threads: ThreadPoolExecutor
    size: int
    running: dict[Key, Future[None]] = field(default_factory=dict)

    @property
    def free(self) -> bool:
        """Whether there is a thread for one more."""
        return len(self.running) < self.size

    def tidy(self) -> None:
        """Takes away those that are done; raises what one raised."""
        for key, future in list(self.running.items()):
            if future.done():
                del self.running[key]
                future.result()
