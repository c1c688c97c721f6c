"""The processes of the server by name; each loads its own parts, and only in its own process."""

import os
from collections.abc import Callable

from server.settings import Settings

#: Added to the niceness of processes that nobody waits for (nice(2)).
_BACKGROUND = 5


def processes(settings: Settings) -> dict[str, Callable[[Settings], None]]:
    """The processes that ``serve`` runs, by name."""
    entries: dict[str, Callable[[Settings], None]] = {"web": run_web, "dimse": run_dimse, "events": run_events}
    for number in range(max(1, settings.analysis_workers) if settings.worker else 0):
        entries[f"analysis {number + 1}" if number else "analysis"] = run_analysis
    return entries


def run_web(settings: Settings) -> None:
    """The process that speaks HTTP."""
    from server.app.web import run

    run(settings)


def run_dimse(settings: Settings) -> None:
    """The process that speaks DICOM's own protocol."""
    from server.app.dimse import run

    run(settings)


def run_events(settings: Settings) -> None:
    """The process that moves events: quiet studies, plans, notifications, sending."""
    from server.app.events import run

    _yield_to_callers()
    run(settings)


def run_analysis(settings: Settings) -> None:
    """A process that runs adapters."""
    from server.app.analysis import run

    _yield_to_callers()
    run(settings)


def _yield_to_callers() -> None:
    """Whoever waits at a door goes first: work in the background takes the processor time that is left."""
    os.nice(_BACKGROUND)
