"""The supervisor: restarts what dies, drains what runs, leaves nobody behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

_PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from server.cli.supervise import Supervisor
from server.settings import Settings

def child(settings):
    folder = settings.data
    (folder / f"started-{os.getpid()}").touch()
    if settings.kill_at and not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    def drain(*_):
        (folder / "drained").touch()
        sys.exit(0)
    signal.signal(signal.SIGTERM, drain)
    while True:
        time.sleep(0.05)

if __name__ == "__main__":
    supervisor = Supervisor(Settings(data=Path(sys.argv[1]), kill_at=sys.argv[2]), {"child": child})
    signal.signal(signal.SIGTERM, lambda *_: supervisor.stop())
    supervisor.start()
    supervisor.watch()
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(_PROGRAM)
    return path


def _start(program: Path, folder: Path, kill_at: str = "") -> subprocess.Popen[bytes]:
    folder.mkdir()
    root = Path(__file__).parent.parent.parent
    return subprocess.Popen(
        [sys.executable, str(program), str(folder), kill_at], env={**os.environ, "PYTHONPATH": str(root)}
    )


def _until(condition: object, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.05)
    assert condition()  # type: ignore[operator]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_a_dead_child_is_replaced_and_its_kill_point_disarmed(program: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    server = _start(program, folder, kill_at="claimed")
    _until(lambda: len(list(folder.glob("started-*"))) == 2)
    time.sleep(0.5)
    assert len(list(folder.glob("started-*"))) == 2
    server.send_signal(signal.SIGTERM)
    assert server.wait(20) == 0
    assert (folder / "drained").exists()


def test_children_die_with_a_killed_supervisor(program: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    server = _start(program, folder)
    _until(lambda: list(folder.glob("started-*")))
    child = int(next(folder.glob("started-*")).name.removeprefix("started-"))
    server.kill()
    server.wait()
    _until(lambda: not _alive(child))
