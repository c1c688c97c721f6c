"""Import: client processes post transaction bundles, copy after copy, until the time is over."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks.fhir.bundles import Template, templates
from benchmarks.fhir.clients import Tally, all_seconds, milliseconds, rate, span, together
from benchmarks.fhir.wire import Wire

Figures = dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """What the clients are given."""

    base: str
    token: str
    bundles: Path
    #: Until then bundles are begun; 0: each bundle ``copies`` times.
    seconds: float = 0.0
    copies: int = 1
    clients: int = 4


def run(given: Given) -> Figures:
    """Resources a second, and the CPU seconds of the clients for each second of the run."""
    tallies = together(_client, given, processes=given.clients)
    seconds = all_seconds(tallies)["bundle"]
    return {
        "import resources/s": rate(tallies),
        "import resources": sum(one.done for one in tallies),
        "import seconds": span(tallies),
        "import bundle p50 ms": milliseconds(seconds, 50),
        "import bundle p99 ms": milliseconds(seconds, 99),
        "import clients' cores": sum(one.cpu for one in tallies) / span(tallies),
    }


def _client(number: int, given: Given) -> Callable[[Tally], None]:
    own = templates(given.bundles)[number :: given.clients]

    def work(tally: Tally) -> None:
        wire = Wire(given.base, given.token)
        over = time.monotonic() + given.seconds if given.seconds else None
        for body, entries in _copies(own, given.copies if over is None else sys.maxsize):
            tally.timed("bundle", partial(wire.expect, (200,), "POST", "", body))
            tally.done += entries
            if over is not None and time.monotonic() >= over:
                break
        wire.close()

    return work


def _copies(own: list[Template], copies: int) -> Iterator[tuple[bytes, int]]:
    for _ in range(copies):
        for template in own:
            yield template.copy(), template.entries


def for_seconds(given: Given, seconds: float) -> Given:
    """The same for a time rather than once."""
    return replace(given, seconds=seconds)


def more(given: Given, copies: int) -> Given:
    """The same with so many copies of each bundle."""
    return replace(given, copies=copies)
