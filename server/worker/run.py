"""A worker process: jobs of some queues, and beside them the loops, until SIGTERM; then what runs is finished first."""

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ConnectorException

from server.worker.loops import Loop
from server.worker.task import Task, register

#: Seconds between two signs of life, and without one after which a worker counts as dead.
HEARTBEAT = 2.0
DEAD_AFTER = 6.0
_STALLED_INTERVAL = 1.0
_POLLING_INTERVAL = 0.2

#: Queue -> jobs at a time in one process. An inference takes all cores; a notification mostly waits.
CONCURRENCY: Mapping[str, int] = {"events": 4, "notify": 16, "fetch": 8, "bulk": 2, "analysis": 1}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Worker:
    """Which jobs and loops one process runs."""

    database_url: str
    tasks: tuple[Task, ...]
    queues: tuple[str, ...]
    loops: tuple[Loop, ...] = ()


def run_worker(worker: Worker) -> None:
    """Works until SIGTERM or SIGINT; raises what a loop or the queue raised."""
    asyncio.run(_work(worker))


async def _work(worker: Worker) -> None:
    app = App(connector=PsycopgConnector(conninfo=worker.database_url, min_size=2, max_size=8))
    for task in worker.tasks:
        register(app, task)
    loop = asyncio.get_running_loop()
    # Sync jobs run in threads of the default executor: one for each job there may be, or a slow subscriber would
    # take a thread from everybody.
    threads = sum(CONCURRENCY[queue] for queue in worker.queues) + len(worker.loops) + 4
    loop.set_default_executor(ThreadPoolExecutor(max_workers=threads, thread_name_prefix="job"))
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with app.open_async():
        await _serve(app, worker, stopping)


async def _serve(app: App, worker: Worker, stopping: asyncio.Event) -> None:
    """Runs every queue and loop until ``stopping``, and lets what runs come to its end; raises what one raised."""
    halt = threading.Event()
    parts = [asyncio.create_task(_queue(app, queue), name=queue) for queue in worker.queues]
    parts.append(asyncio.create_task(_take_up_stalled(app, worker.queues), name="stalled"))
    loops = [asyncio.create_task(asyncio.to_thread(loop.run, halt), name=loop.name) for loop in worker.loops]
    stop = asyncio.create_task(stopping.wait())
    done, _ = await asyncio.wait([stop, *parts, *loops], return_when=asyncio.FIRST_COMPLETED)
    halt.set()
    for part in (stop, *parts):
        part.cancel()
    ended = await asyncio.gather(*parts, *loops, return_exceptions=True)
    if stop not in done:
        errors = [error for error in ended if isinstance(error, Exception)]
        raise errors[0] if errors else RuntimeError("A part of the worker ended by itself.")


async def _queue(app: App, queue: str) -> None:
    await app.run_worker_async(
        queues=[queue],
        name=queue,
        concurrency=CONCURRENCY[queue],
        fetch_job_polling_interval=_POLLING_INTERVAL,
        update_heartbeat_interval=HEARTBEAT,
        stalled_worker_timeout=DEAD_AFTER,
        delete_jobs="successful",
        install_signal_handlers=False,
    )


async def _take_up_stalled(app: App, queues: tuple[str, ...]) -> None:
    """Puts the jobs of workers that died back into their queue: the queue does not do that by itself."""
    while True:
        for queue in queues:
            stalled = await app.job_manager.get_stalled_jobs(queue=queue, seconds_since_heartbeat=DEAD_AFTER)
            for job in stalled:
                _log.warning("job %s (%s) was left by a worker that died; it is tried again", job.id, job.task_name)
                # Another worker may have taken it up in the same moment.
                with contextlib.suppress(ConnectorException):
                    await app.job_manager.retry_job(job)
        await asyncio.sleep(_STALLED_INTERVAL)
