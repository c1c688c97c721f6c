"""Named points at which a crash test kills the process, as a power cut would: no clean-up, no exception.

Armed by the setting ``kill_at`` (``name`` or ``name:nth``); unarmed, ``at`` costs one dictionary look-up.
The supervisor starts the killed process again unarmed.
"""

import os
import signal

from server.errors import BadRequest

#: Every point on the way of a study, in the order in which one study passes them.
POINTS = (
    "after-ack",
    "before-event",
    "claimed",
    "inferring",
    "sr-written",
    "sr-stored",
    "fhir-committed",
    "notifying",
    "notified",
)
#: Points on the way of clearing up the packs.
KEEPING = ("gc-copied", "gc-repointed", "gc-forgotten")

#: Point -> passes left until the kill.
_armed: dict[str, int] = {}


def arm(spec: str) -> None:
    """Arms one point; an empty text disarms. Raises BadRequest on an unknown name."""
    _armed.clear()
    if not spec:
        return
    name, _, nth = spec.partition(":")
    if name not in POINTS + KEEPING or not (nth or "1").isdigit():
        known = ", ".join(POINTS + KEEPING)
        raise BadRequest(f"'{spec}' is no kill point; write one of {known}, or name:nth.", expression="kill_at")
    _armed[name] = int(nth or "1")


def at(name: str) -> None:
    """Dies here, by SIGKILL, when this is the armed point's nth pass."""
    left = _armed.get(name)
    if left is None:
        return
    _armed[name] = left - 1
    if left <= 1:
        os.kill(os.getpid(), signal.SIGKILL)
