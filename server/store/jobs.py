"""Jobs: deferred on the caller's own connection, in the caller's transaction (procrastinate 3.10).

Never use ``queueing_lock`` here: a second deferral would abort the transaction, a concurrent one would block it.
"""

from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any

import psycopg
from procrastinate import App, SyncPsycopgConnector

from server.errors import HutongError


@lru_cache(maxsize=1)
def _deferrer() -> App:
    """An app that only defers: its connector's pool is never opened, since the caller brings the connection."""
    return App(connector=SyncPsycopgConnector())


def defer(
    connection: psycopg.Connection[Any],
    task: str,
    *,
    queue: str,
    arguments: Mapping[str, Any],
    lock: str | None = None,
    schedule_in: Mapping[str, float] | None = None,
    priority: int = 0,
) -> int:
    """Puts one job into the caller's transaction; returns its number."""
    options: dict[str, Any] = {"queue": queue, "priority": priority, "connection": connection}
    if lock is not None:
        options["lock"] = lock
    if schedule_in is not None:
        options["schedule_in"] = {"seconds": timedelta(**schedule_in).total_seconds()}
    number = _deferrer().configure_task(task, **options).defer(**arguments)
    if number is None:
        raise HutongError(f"The job '{task}' was not taken by the queue.")
    return number
