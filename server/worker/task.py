"""One kind of job: what it runs, how often it is tried, and what its last failure does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from procrastinate import App, BaseRetryStrategy, JobContext, RetryDecision
from procrastinate.jobs import Job

from server.errors import HutongError
from server.telemetry import metrics

#: Attempts after which a job has failed for good.
ATTEMPTS = 5
_LONGEST_PAUSE = 600

Arguments = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A named job."""

    name: str
    queue: str
    run: Callable[..., None]
    #: None for without end.
    attempts: int | None = ATTEMPTS
    #: Called with the reason and the job's arguments when the last attempt failed.
    failed: Callable[[str, Arguments], None] | None = None


class Pauses(BaseRetryStrategy):
    """Growing pauses: 0.5 s, doubling, at most ten minutes."""

    def __init__(self, attempts: int | None) -> None:
        self._attempts = attempts

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:  # noqa: ARG002
        """When to try again; None when that was the last time."""
        if self._attempts is not None and job.attempts + 1 >= self._attempts:
            return None
        seconds = min(0.5 * 2 ** min(job.attempts, 20), _LONGEST_PAUSE)
        return RetryDecision(retry_at=datetime.now(UTC) + timedelta(seconds=seconds))


def register(app: App, task: Task) -> None:
    """Makes the queue know the task by its name."""

    def run(context: JobContext, /, **arguments: Any) -> None:
        _attempt(task, context.job.attempts, arguments)

    app.task(name=task.name, queue=task.queue, pass_context=True, retry=Pauses(task.attempts))(run)


def _attempt(task: Task, earlier: int, arguments: Arguments) -> None:
    """One attempt. A job whose worker died each time never reports; it is counted when it is claimed again."""
    last = task.attempts is not None and earlier + 1 >= task.attempts
    if task.attempts is not None and earlier >= task.attempts:
        if task.failed is not None:
            task.failed(f"The worker died {earlier} times while it was at this.", arguments)
        return
    with metrics.jobs_running.labels(queue=task.queue).track_inprogress():
        try:
            task.run(**arguments)
        except Exception as error:  # The edge: whatever a job raises ends in its own outcome, not in the worker's.
            if last and task.failed is not None:
                task.failed(reason(error), arguments)
            raise


def reason(error: BaseException) -> str:
    """What may be said of an error in a resource: our own errors' text; of others only the kind, never their text."""
    if isinstance(error, HutongError):
        return error.details
    return f"An unexpected {type(error).__name__} stopped it; the server's log has the details."
