"""A database that hangs: whoever waits for it is told, in bounded time, and goes on when it is back."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from server.errors import Unavailable
from server.store import watch
from server.store.database import Database
from server.store.embedded import EmbeddedPostgres
from server.store.watch import Watch


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A cluster of its own: others must not be frozen with it."""
    embedded = EmbeddedPostgres(tmp_path / "data", durable=False)
    embedded.start()
    yield embedded
    embedded.stop()


@pytest.fixture
def watched(postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setattr(watch, "ANSWER_SECONDS", 2)
    opened = Database(postgres.url)
    opened._watch = Watch(postgres.url, patience=0.5, tick=0.1)
    yield opened
    opened.close()


def family(embedded: EmbeddedPostgres) -> list[psutil.Process]:
    assert embedded._process is not None
    postmaster = psutil.Process(embedded._process.pid)
    return [postmaster, *postmaster.children(recursive=True)]


def test_who_waits_for_a_frozen_database_is_told(postgres: EmbeddedPostgres, watched: Database) -> None:
    with watched.statement() as connection, watched.unit_of_work() as uow:
        connection.execute("select 1")
        uow.driver.execute("select 1")
    frozen = family(postgres)
    for process in frozen:
        process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(Unavailable), watched.statement() as connection:
            connection.execute("select 1")
        with pytest.raises(Unavailable), watched.unit_of_work() as uow:
            uow.driver.execute("select 1")
        assert time.monotonic() - began < 30
    finally:
        for process in frozen:
            process.send_signal(signal.SIGCONT)
    with watched.statement() as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_a_long_statement_is_left_alone(watched: Database) -> None:
    with watched.statement() as connection:
        assert connection.execute("select 1 from pg_sleep(2)").fetchone() == (1,)


def test_an_embedded_database_that_died_is_started_again(postgres: EmbeddedPostgres) -> None:
    assert not postgres.revive()
    family(postgres)[0].kill()
    deadline = time.monotonic() + 30
    while not postgres.revive() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert postgres.answers()
