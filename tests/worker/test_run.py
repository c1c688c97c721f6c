"""Jobs run, are retried, fail for good after five attempts, and survive the death of their worker."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from server.store.database import Database
from server.worker.loops import Loop
from server.worker.run import Worker, run_worker

ROOT = Path(__file__).parents[2]

_PROGRAM = """
import sys, time
from pathlib import Path
from server.worker.run import Worker, run_worker
from server.worker.task import Task

url, folder = sys.argv[1], Path(sys.argv[2])

def note(word, **arguments):
    with (folder / word).open("a") as file:
        file.write("x")

def slow(tenant):
    note("slow-begun")
    while not (folder / "go").exists():
        time.sleep(0.02)
    note("slow-done")

def bad(tenant):
    note("bad")
    raise RuntimeError("a patient's name")

def failed(reason, arguments):
    (folder / "reason").write_text(reason)

tasks = (
    Task(name="slow", queue="events", run=slow),
    Task(name="bad", queue="events", run=bad, failed=failed, attempts=2),
    Task(name="quick", queue="events", run=lambda tenant: note("quick")),
)
run_worker(Worker(database_url=url, tasks=tasks, queues=("events",)))
"""


def _start(url: str, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _PROGRAM, url, str(folder)], cwd=ROOT)


def _wait(path: Path, content: str | None = None, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not path.exists() or (content is not None and path.read_text() != content):
        assert time.monotonic() < end, f"{path.name} did not come"
        time.sleep(0.02)


def _defer(database: Database, task: str) -> None:
    with database.unit_of_work() as uow:
        uow.defer(task, tenant=1)


@pytest.mark.timeout(60)
def test_a_killed_worker_s_job_is_taken_up_again(database: Database, database_url: str, tmp_path: Path) -> None:
    _defer(database, "slow")
    first = _start(database_url, tmp_path)
    _wait(tmp_path / "slow-begun")
    first.kill()
    first.wait()
    (tmp_path / "go").touch()
    began = time.monotonic()
    second = _start(database_url, tmp_path)
    try:
        _wait(tmp_path / "slow-done", "x")
        assert time.monotonic() - began < 15
        assert (tmp_path / "slow-begun").read_text() == "xx"
    finally:
        second.send_signal(signal.SIGTERM)
        assert second.wait(10) == 0


@pytest.mark.timeout(60)
def test_failing_jobs_end_and_hold_up_nobody_and_sigterm_drains(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    worker = _start(database_url, tmp_path)
    _defer(database, "bad")
    _defer(database, "quick")
    _wait(tmp_path / "quick")
    _wait(tmp_path / "reason")
    assert (tmp_path / "bad").read_text() == "xx"
    # Of an unexpected error only the kind is told: its text may hold patient data.
    assert "RuntimeError" in (tmp_path / "reason").read_text()
    assert "patient" not in (tmp_path / "reason").read_text()
    _defer(database, "slow")
    _wait(tmp_path / "slow-begun")
    worker.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert worker.poll() is None
    (tmp_path / "go").touch()
    assert worker.wait(10) == 0
    assert (tmp_path / "slow-done").exists()
    with database.reading() as uow:
        left = uow.execute(text("select task_name, status::text from procrastinate_jobs")).all()
    assert [tuple(row) for row in left] == [("bad", "failed")]


@pytest.mark.timeout(60)
def test_a_job_whose_worker_always_dies_ends_too(database: Database, database_url: str, tmp_path: Path) -> None:
    _defer(database, "bad")
    with database.unit_of_work() as uow:
        # As it stands after two deaths: each was counted when the job was taken up again.
        uow.execute(text("update procrastinate_jobs set attempts = 2"))
    worker = _start(database_url, tmp_path)
    try:
        _wait(tmp_path / "reason")
        assert "died 2 times" in (tmp_path / "reason").read_text()
        assert not (tmp_path / "bad").exists()
    finally:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(10) == 0


def test_a_loop_that_raises_ends_the_worker(database_url: str) -> None:
    def broken(stopping: threading.Event) -> None:
        raise RuntimeError("the database went away")

    worker = Worker(database_url=database_url, tasks=(), queues=("events",), loops=(Loop(name="broken", run=broken),))
    with pytest.raises(RuntimeError, match="went away"):
        run_worker(worker)
