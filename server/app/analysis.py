"""A process that runs adapters."""

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
    analyst = Analyst(
        database=parts.database,
        repository=parts.repository,
        retrieve=parts.retrieve,
        registry=registry(settings.bundle_folder),
        publisher=publisher(parts),
        comparer=Comparer(database=parts.database, retrieve=parts.retrieve, threads=settings.inference_threads or None),
        uid_root=settings.uid_root,
        threads=settings.inference_threads or None,
        providers=settings.providers,
        external=frozenset(settings.external_adapters),
    )
    run_worker(analysis_worker(settings.database_url, analyst))
