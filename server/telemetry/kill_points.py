"""Named points at which a crash test kills the process, as a power cut would: no clean-up, no exception.

Armed by the setting ``kill_at`` (``name`` or ``name:nth``); unarmed, ``at`` costs one dictionary look-up. A point kills
once per data folder: it leaves a file there, so that the restarted process lives.
"""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from server.errors import BadRequest

#: Every point there is, in the order in which one study passes them.
POINTS = (
    "after-ack",
    "before-event",
    "claimed",
    "inferring",
    "sr-written",
    "sr-stored",
    "fhir-committed",
    "notifying",
)


@dataclass(slots=True)
class _Armed:
    """One armed point."""

    #: Passes left until the kill.
    left: int
    #: What is left behind for the next process.
    mark: Path


_armed: dict[str, _Armed] = {}


def arm(spec: str, folder: Path) -> None:
    """Arms one point unless it has killed before; an empty text disarms. Raises BadRequest on an unknown name."""
    _armed.clear()
    if not spec:
        return
    name, _, nth = spec.partition(":")
    if name not in POINTS or not (nth or "1").isdigit():
        known = ", ".join(POINTS)
        raise BadRequest(f"'{spec}' is no kill point; write one of {known}, or name:nth.", expression="kill_at")
    mark = folder / f"killed-{name}"
    if not mark.exists():
        _armed[name] = _Armed(left=int(nth or "1"), mark=mark)


def at(name: str) -> None:
    """Dies here, by SIGKILL, when this is the armed point's nth pass."""
    armed = _armed.get(name)
    if armed is None:
        return
    armed.left -= 1
    if armed.left <= 0:
        armed.mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
