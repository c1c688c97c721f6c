"""The embedded PostgreSQL: made once, found again, gone with whoever started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from server.store import embedded
from server.store.embedded import EmbeddedPostgres


def _answers(url: str) -> bool:
    try:
        with psycopg.connect(url):
            return True
    except psycopg.OperationalError:
        return False


def test_keeps_what_was_committed_over_a_restart(tmp_path: Path) -> None:
    first = EmbeddedPostgres(tmp_path)
    url = first.start()
    with psycopg.connect(url) as connection:
        connection.execute("create table kept as select 42 as answer")
    first.stop()
    assert not _answers(url)
    second = EmbeddedPostgres(tmp_path)
    with psycopg.connect(second.start()) as connection:
        assert connection.execute("select answer from kept").fetchone() == (42,)
        assert connection.execute("show data_checksums").fetchone() == ("on",)
        assert connection.execute("show fsync").fetchone() == ("on",)
    second.stop()


def test_dies_with_a_killed_starter(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from server.store.embedded import EmbeddedPostgres\n"
        "print(EmbeddedPostgres(Path(sys.argv[1])).start(), flush=True); time.sleep(60)"
    )
    starter = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    with starter.stdout as output:
        url = output.readline().strip()
    assert _answers(url)
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    deadline = time.monotonic() + 10
    while _answers(url) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _answers(url)


def test_a_predecessor_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes nobody in and holds the lock file, as PostgreSQL 18 may when it is told to stop while it recovers."""
    monkeypatch.setattr(embedded, "_PREDECESSOR_SECONDS", 0.5)
    first, second = EmbeddedPostgres(tmp_path), EmbeddedPostgres(tmp_path)
    with psycopg.connect(first.start()) as connection:
        connection.execute("create table kept as select 42 as answer")
        connection.commit()
        # A smart shutdown waits for its last client, and nobody else is let in.
        postmaster = int((first.cluster / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0])
        os.kill(postmaster, signal.SIGTERM)
        deadline = time.monotonic() + 10
        while first.answers() and time.monotonic() < deadline:
            time.sleep(0.05)
        url = second.start()
    with psycopg.connect(url) as connection:
        assert connection.execute("select answer from kept").fetchone() == (42,)
    second.stop()
    first.stop()


def test_nobody_else_may_reach_the_socket(tmp_path: Path) -> None:
    cluster = EmbeddedPostgres(tmp_path)
    url = cluster.start()
    assert cluster.sockets.stat().st_mode & 0o077 == 0
    with pytest.raises(psycopg.OperationalError, match=r"pg_hba|Peer"):
        psycopg.connect(url.replace("user=hutong", "user=postgres"))
    cluster.stop()
