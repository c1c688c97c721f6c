"""What is measured of a server: each gives figures by name."""

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from benchmarks.dicomweb.association import Sender
from benchmarks.dicomweb.instances import Instance, Maker
from benchmarks.dicomweb.servers import Server
from benchmarks.dicomweb.wire import Wire

Figures = dict[str, float]
Work = TypeVar("Work")
#: Clients x instances per request.
STOW = ((1, 1), (1, 50), (4, 1), (4, 50))
CSTORE = (1, 4)
_ASKED = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A series that the server has."""

    study: str
    series: str
    instances: tuple[str, ...]


def stow(server: Server, maker: Maker, instances: int) -> tuple[Figures, list[Sample]]:
    """Instances per second, an equal share of the instances in each mode."""
    figures: Figures = {}
    samples: list[Sample] = []
    for clients, at_once in STOW:
        share = max(instances // len(STOW) // clients, at_once)
        work = [list(maker.many(share)) for _ in range(clients)]

        def send(mine: list[Instance], at_once: int = at_once) -> None:
            wire = server.connect()
            rest = iter(mine)
            while batch := list(islice(rest, at_once)):
                wire.store(f"{server.root}/studies", batch)
            wire.close()

        figures[f"stow {clients}x{at_once}"] = clients * share / together(send, work)
        samples += [sample for mine in work for sample in _samples(mine)]
    return figures, samples


def cstore(server: Server, maker: Maker, instances: int) -> Figures:
    """Instances per second over associations that stay open."""
    figures: Figures = {}
    for clients in CSTORE:
        share = max(instances // 4 // clients, 1)
        work = [list(maker.many(share)) for _ in range(clients)]

        def send(mine: list[Instance]) -> None:
            sender = Sender("127.0.0.1", server.dimse_port, server.ae_title)
            for instance in mine:
                sender.store(instance)
            sender.release()

        figures[f"c-store {clients}"] = clients * share / together(send, work)
    return figures


def qido(server: Server, samples: Sequence[Sample]) -> Figures:
    """Median milliseconds of a search for 30 studies, and for the instances of one series."""
    wire = server.connect()
    chosen = _spread(samples)
    figures = {
        "qido studies": _median(wire, [f"{server.root}/studies?limit=30"] * _ASKED),
        "qido instances": _median(wire, [f"{_series(server, sample)}/instances" for sample in chosen]),
    }
    wire.close()
    return figures


def wado(server: Server, samples: Sequence[Sample]) -> Figures:
    """MB/s of whole studies, and median milliseconds of metadata, frames and pictures."""
    figures: Figures = {}
    for clients in (1, 4):
        seconds, total = _retrieve(server, samples, clients)
        figures[f"wado study {clients}"] = total / 1e6 / seconds
    wire = server.connect()
    chosen = _spread(samples)
    some = [f"{_series(server, s)}/instances/{s.instances[i % len(s.instances)]}" for i, s in enumerate(chosen)]
    figures["metadata"] = _median(wire, [f"{_series(server, sample)}/metadata" for sample in chosen])
    octets = 'multipart/related; type="application/octet-stream"'
    figures["frames"] = _median(wire, [f"{place}/frames/1" for place in some], octets)
    figures["rendered"] = _median(wire, [f"{place}/rendered" for place in some], "image/jpeg")
    wire.close()
    return figures


def together(run: Callable[[list[Work]], None], work: Sequence[list[Work]]) -> float:
    """Seconds that it takes to run all shares side by side; the first failure is raised."""
    failures: list[Exception] = []

    def guarded(mine: list[Work]) -> None:
        try:
            run(mine)
        except Exception as error:  # noqa: BLE001 - raised again below, in the thread that waits
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(mine,)) for mine in work]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    if failures:
        raise failures[0]
    return seconds


def _retrieve(server: Server, samples: Sequence[Sample], clients: int) -> tuple[float, int]:
    sizes: list[int] = []

    def run(mine: list[Sample]) -> None:
        wire = server.connect()
        for sample in mine:
            path = f"{server.root}/studies/{sample.study}"
            sizes.append(wire.get(path, 'multipart/related; type="application/dicom"').size)
        wire.close()

    shares = [list(samples[start::clients]) for start in range(clients)]
    return together(run, shares), sum(sizes)


def _samples(instances: list[Instance]) -> list[Sample]:
    by_series: dict[tuple[str, str], list[str]] = {}
    for instance in instances:
        by_series.setdefault((instance.study, instance.series), []).append(instance.uid)
    return [Sample(study=study, series=series, instances=tuple(uids)) for (study, series), uids in by_series.items()]


def _spread(samples: Sequence[Sample]) -> list[Sample]:
    full = [sample for sample in samples if len(sample.instances) == len(samples[0].instances)]
    return [full[index % len(full)] for index in range(_ASKED)]


def _series(server: Server, sample: Sample) -> str:
    return f"{server.root}/studies/{sample.study}/series/{sample.series}"


def _median(wire: Wire, paths: list[str], accept: str = "application/dicom+json") -> float:
    times: list[float] = []
    for path in paths:
        started = time.perf_counter()
        wire.get(path, accept)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000
