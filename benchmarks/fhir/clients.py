"""Client processes that do the same at the same time, and what they counted."""

import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.synchronize import Barrier
from typing import Any


@dataclass(kw_only=True, slots=True)
class Tally:
    """What one client did."""

    #: Resources or requests that were acknowledged.
    done: int = 0
    #: Seconds of each request, by what it was.
    seconds: dict[str, list[float]] = field(default_factory=dict)
    began: float = 0.0
    ended: float = 0.0
    #: CPU time of the client itself.
    cpu: float = 0.0

    def timed(self, kind: str, work: Callable[[], Any]) -> Any:
        """Does the work and notes how long it took."""
        began = time.perf_counter()
        result = work()
        self.seconds.setdefault(kind, []).append(time.perf_counter() - began)
        return result


#: (number of the client, what it is given) makes ready; what comes back does the work of one client, once all are.
Prepare = Callable[[int, Any], Callable[[Tally], None]]


def together(prepare: Prepare, given: Any, *, processes: int, threads: int = 1) -> list[Tally]:
    """Runs ``processes`` times ``threads`` clients, which begin together; their tallies, one for each process."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    with context.Pool(processes, initializer=_start, initargs=(barrier,)) as pool:
        return pool.starmap(_process, [(prepare, number, threads, given) for number in range(processes)], chunksize=1)


#: Where a process's clients wait for those of the others.
_waiting: list[Barrier] = []


def _start(barrier: Barrier) -> None:
    _waiting.append(barrier)


def _process(prepare: Prepare, number: int, threads: int, given: Any) -> Tally:
    tallies = [Tally() for _ in range(threads)]
    ready = [prepare(number * threads + place, given) for place in range(threads)]
    _waiting[0].wait()
    cpu, began = time.process_time(), time.time()
    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(work, tally) for work, tally in zip(ready, tallies, strict=True)]
        for one in running:
            one.result()
    whole = Tally(began=began, ended=time.time(), cpu=time.process_time() - cpu)
    for tally in tallies:
        whole.done += tally.done
        for kind, seconds in tally.seconds.items():
            whole.seconds.setdefault(kind, []).extend(seconds)
    return whole


def rate(tallies: list[Tally]) -> float:
    """Acknowledged per second, from the first client's beginning to the last one's end."""
    return sum(one.done for one in tallies) / span(tallies)


def span(tallies: list[Tally]) -> float:
    """Seconds from the first client's beginning to the last one's end."""
    return max(one.ended for one in tallies) - min(one.began for one in tallies)


def all_seconds(tallies: list[Tally]) -> dict[str, list[float]]:
    """The seconds of all clients' requests by kind."""
    found: dict[str, list[float]] = {}
    for tally in tallies:
        for kind, seconds in tally.seconds.items():
            found.setdefault(kind, []).extend(seconds)
    return found


def milliseconds(seconds: list[float], percent: int) -> float:
    """A percentile in milliseconds; 50 is the median."""
    if len(seconds) < 2:
        return 1000 * sum(seconds)
    return 1000 * statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1]
