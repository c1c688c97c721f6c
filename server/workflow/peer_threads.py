"""Work for peers in threads of each peer's own, by one process at a time: a slow peer slows nobody."""

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from server.settings import Peer
from server.store.database import Database, UnitOfWork

#: Seconds between two looks for what is due.
_INTERVAL = 0.2


def pause(tries: int, longest: float) -> float:
    """Seconds before the next try: 1, doubled each time, at most ``longest``; a quarter up or down by chance."""
    return float(min(longest, 2.0 ** min(tries, 20)) * random.uniform(0.75, 1.25))


@dataclass(frozen=True, kw_only=True)
class PeerThreads:
    """What is done for peers, and how it is told that something is due."""

    database: Database
    peers: tuple[Peer, ...]
    #: Takes the right to work until the transaction ends, unless another process has it.
    only_one: Callable[[UnitOfWork], bool]
    #: Takes away what the process before left marked.
    free_all: Callable[[UnitOfWork], None]
    #: Those of the named peers for which something is due.
    due: Callable[[UnitOfWork, Sequence[str]], frozenset[str]]
    #: Does one thing for a peer, by its slot; False where nothing is due.
    step: Callable[[Peer, int], bool]
    #: Set when the threads shall end.
    ending: threading.Event
    #: (peer, slot) -> the thread that is at it.
    running: dict[tuple[str, int], Future[None]] = field(default_factory=dict)

    def run(self, stopping: threading.Event) -> None:
        """Works until the event is set; waits where another process is at it. Raises what a thread raised."""
        while not stopping.is_set():
            with self.database.unit_of_work() as uow:
                if self.only_one(uow):
                    self._watch(uow, stopping)
            stopping.wait(1.0)

    def _watch(self, uow: UnitOfWork, stopping: threading.Event) -> None:
        """Gives every peer with something due its threads. ``uow`` holds the right, and writes nothing."""
        with self.database.unit_of_work() as other:
            self.free_all(other)
        names = [peer.name for peer in self.peers]
        slots = sum(peer.concurrency for peer in self.peers)
        with ThreadPoolExecutor(max_workers=max(slots, 1), thread_name_prefix="peer") as threads:
            try:
                while not stopping.is_set():
                    due = self.due(uow, names)
                    for peer in self.peers:
                        for slot in range(peer.concurrency if peer.name in due else 0):
                            self._start(threads, peer, slot)
                    stopping.wait(_INTERVAL)
                    self._check()
            finally:
                self.ending.set()

    def _start(self, threads: ThreadPoolExecutor, peer: Peer, slot: int) -> None:
        if (peer.name, slot) not in self.running:
            self.running[(peer.name, slot)] = threads.submit(self._work, peer, slot)

    def _check(self) -> None:
        for key, future in list(self.running.items()):
            if future.done():
                del self.running[key]
                future.result()

    def _work(self, peer: Peer, slot: int) -> None:
        while not self.ending.is_set() and self.step(peer, slot):
            pass
