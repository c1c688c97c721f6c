"""A process that runs adapters."""

import os

from ai_adapters.registry import registry
from server.app.parts import compose, publisher
from server.settings import Settings
from server.worker.jobs import analysis_worker
from server.worker.run import run_worker
from server.workflow.analysis import Analyst
from server.workflow.comparison import Comparer


def run(settings: Settings) -> None:
    """A process that runs adapters."""

    parts = compose(settings)
    threads = inference_threads(settings)
    analyst = Analyst(
        database=parts.database,
        repository=parts.repository,
        retrieve=parts.retrieve,
        registry=registry(settings.bundle_folder),
        publisher=publisher(parts),
        comparer=Comparer(database=parts.database, retrieve=parts.retrieve, threads=threads),
        uid_root=settings.uid_root,
        threads=threads,
        providers=settings.providers,
        external=frozenset(settings.external_adapters),
    )
    run_worker(analysis_worker(settings.database_url, analyst))


def inference_threads(settings: Settings) -> int | None:
    """Threads of one inference: as set, else the cores' share of one analysis process; None for all of them."""
    if settings.inference_threads or settings.analysis_workers <= 1:
        return settings.inference_threads or None
    return max(1, (os.cpu_count() or 1) // settings.analysis_workers)
