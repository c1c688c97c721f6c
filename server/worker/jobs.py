"""Every job there is, by its name, and what each kind of worker process runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from server.events.deliver import Delivery
from server.events.dispatch import Answer, Dispatcher
from server.imaging.commitment import COMMITMENT_REPORT
from server.operations import bulk, export, import_
from server.operations.export_job import Exporter
from server.operations.import_job import Importer
from server.worker.loops import (
    DISPATCH_INTERVAL,
    FORGET_INTERVAL,
    INDEX_INTERVAL,
    KEEP_INTERVAL,
    MEASURE_INTERVAL,
    PERIODIC_INTERVAL,
    RETAIN_INTERVAL,
    SWEEP_INTERVAL,
    Loop,
    every,
    until_empty,
)
from server.worker.run import Worker
from server.worker.task import Task
from server.workflow import availability, commitment
from server.workflow.analysis import Analyst
from server.workflow.availability import ANNOUNCE, Announcer
from server.workflow.commitment import CommitmentReporter
from server.workflow.comparison import COMPARE
from server.workflow.deliver import Deliverer
from server.workflow.fetch import FIND_PRIORS, Fetcher
from server.workflow.foreign_report import SR_RECEIVED, ReportReader
from server.workflow.forward import Forwarder
from server.workflow.pathway import Planner
from server.workflow.report_document import WRITE_DOCUMENT, DocumentWriter
from server.workflow.study import StudyKeeper

#: The topic that wakes adapters.
TASK_READY = "https://hutong.example/fhir/SubscriptionTopic/task-ready"


def answers(planner: Planner) -> Mapping[str, Sequence[Answer]]:
    """The jobs that topics' events cause: a plan for those that a pathway answers, a run for a Task."""
    planned = {topic: [Answer(task="plan", queue="events")] for topic in planner.topics()}
    return {**planned, TASK_READY: [*planned.get(TASK_READY, ()), Answer(task="run-task", queue="analysis")]}


@dataclass(frozen=True, kw_only=True)
class EventJobs:
    """What the process that moves events is made of."""

    studies: StudyKeeper
    reports: ReportReader
    planner: Planner
    documents: DocumentWriter
    delivery: Delivery
    forwarder: Forwarder
    deliverer: Deliverer
    fetcher: Fetcher
    announcer: Announcer
    commitments: CommitmentReporter
    dispatcher: Dispatcher
    exporter: Exporter
    importer: Importer
    #: Defers study-changed for quiet studies; gives how many.
    sweep: Callable[[], int]
    #: Deletes events that were kept long enough; gives how many.
    forget: Callable[[], int]
    #: Clears up behind deletions, and lets go what the rules of retention let go.
    keep: Callable[[], object]
    retain: Callable[[], object]
    #: Carries out what plans do by the clock.
    periodic: Callable[[], object]
    #: Indexes a batch of stored instances by declared attributes; gives how many, 0 when all are.
    index: Callable[[], int]
    #: One step of indexing by declared search parameters; 0 when nothing is left.
    search_parameters: Callable[[], int]

    def worker(self, database_url: str) -> Worker:
        """Quiet studies, plans, notifications and sending, with the loops beside them."""
        return Worker(
            database_url=database_url,
            tasks=(
                Task(name="study-changed", queue="events", run=self.studies.run),
                Task(name=SR_RECEIVED, queue="events", run=self.reports.run),
                Task(name="plan", queue="events", run=self._plan),
                Task(name=WRITE_DOCUMENT, queue="events", run=self.documents.run),
                Task(name=FIND_PRIORS, queue="fetch", run=self.fetcher.find_priors, attempts=None),
                Task(name=ANNOUNCE, queue="notify", run=self.announcer.run, attempts=availability.ATTEMPTS),
                Task(name=COMMITMENT_REPORT, queue="notify", run=self.commitments.run, attempts=commitment.ATTEMPTS),
                Task(name=export.TASK, queue=bulk.QUEUE, run=self.exporter.run, failed=self.exporter.failed),
                Task(name=import_.TASK, queue=bulk.QUEUE, run=self.importer.run, failed=self.importer.failed),
            ),
            queues=("events", "notify", "fetch", bulk.QUEUE),
            loops=self._loops(),
        )

    def _plan(self, **event: Any) -> None:
        """What the pathways say; then it stands in the documents too."""
        self.planner.run(**event)
        self.documents.ask(**event)

    def _loops(self) -> tuple[Loop, ...]:
        return (
            until_empty("dispatch", DISPATCH_INTERVAL, self.dispatcher.run),
            every("sweep", SWEEP_INTERVAL, self.sweep),
            every("forget", FORGET_INTERVAL, self.forget),
            every("keep", KEEP_INTERVAL, self.keep),
            every("retain", RETAIN_INTERVAL, self.retain),
            every("periodic", PERIODIC_INTERVAL, self.periodic),
            until_empty("index", INDEX_INTERVAL, self.index),
            until_empty("search-parameters", INDEX_INTERVAL, self.search_parameters),
            until_empty("forward", SWEEP_INTERVAL, self.forwarder.arrived),
            every("forget-deliveries", FORGET_INTERVAL, self.forwarder.forget),
            Loop(name="notify", run=self.delivery.run),
            Loop(name="deliver", run=self.deliverer.run),
            every("measure-deliveries", MEASURE_INTERVAL, self.deliverer.measure),
            Loop(name="fetch", run=self.fetcher.run),
        )


def analysis_worker(database_url: str, analyst: Analyst) -> Worker:
    """A process that runs adapters."""
    tasks = (
        Task(name="run-task", queue="analysis", run=analyst.run, failed=analyst.failed),
        Task(name=COMPARE, queue="analysis", run=analyst.compare),
    )
    return Worker(database_url=database_url, tasks=tasks, queues=("analysis",))
