"""A kill point kills the process at its nth pass, and only the armed one."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from server.errors import BadRequest
from server.telemetry import kill_points

ROOT = Path(__file__).parents[2]
_PROGRAM = """
import sys
from server.telemetry import kill_points
kill_points.arm(sys.argv[1])
for number in range(3):
    kill_points.at("sr-written")
    kill_points.at("claimed")
    print(number, flush=True)
"""


@pytest.mark.parametrize(
    ("spec", "printed", "code"),
    [("claimed", "", -signal.SIGKILL), ("claimed:3", "0\n1\n", -signal.SIGKILL), ("", "0\n1\n2\n", 0)],
)
def test_kills_at_the_nth_pass(spec: str, printed: str, code: int) -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM, spec], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == (printed, code)


@pytest.mark.parametrize("spec", ["nowhere", "claimed:x"])
def test_unknown_points_are_refused(spec: str) -> None:
    with pytest.raises(BadRequest):
        kill_points.arm(spec)
