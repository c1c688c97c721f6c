"""A unit of work commits whole or not at all, jobs included."""

import contextlib
import os
import resource
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from server.store.database import Database


def _jobs(database: Database) -> int:
    with database.reading() as uow:
        return int(uow.execute(text("select count(*) from procrastinate_jobs")).scalar_one())


def test_job_and_row_commit_together(database: Database) -> None:
    with database.unit_of_work() as uow:
        uow.execute(text("insert into tenant values (2, 'second')"))
        uow.defer("something", argument=1)
    assert _jobs(database) == 1
    with database.reading() as uow:
        assert uow.execute(text("select count(*) from tenant")).scalar_one() == 2


def test_rollback_leaves_no_job(database: Database) -> None:
    with pytest.raises(RuntimeError), database.unit_of_work() as uow:
        uow.execute(text("insert into tenant values (2, 'second')"))
        uow.defer("something", argument=1)
        raise RuntimeError
    assert _jobs(database) == 0


def test_reading_refuses_to_write(database: Database) -> None:
    with pytest.raises(Exception, match="read-only"), database.reading() as uow:
        uow.execute(text("insert into tenant values (3, 'third')"))


def test_what_is_read_often_stays_prepared(database: Database) -> None:
    prepared = b"select count(*) from pg_prepared_statements where statement like '%%from tenant where%%'"
    for _ in range(8):
        with database.reading() as uow:
            uow.driver.execute(b"select name from tenant where tenant = %s", (1,))
    with database.reading() as uow:
        row = uow.driver.execute(prepared).fetchone()
    assert row is not None
    assert row[0] == 1


def test_statements_go_on_beyond_a_thousand_descriptors(database: Database) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4096), hard), hard))
    with contextlib.ExitStack() as held:
        for _ in range(1100):
            held.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        for _ in range(3):
            with database.statement(durable=False) as connection:
                assert connection.execute("select 1").fetchone() == (1,)
                assert connection.fileno() > 1024
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_searches_are_few_at_a_time_and_none_is_lost(database: Database) -> None:
    def ask(number: int) -> tuple[int, int]:
        with database.statement(durable=False) as connection:
            row = connection.execute(
                "select %s::int, (select count(*) from pg_stat_activity where state = 'active' "
                "and datname = current_database())::int from pg_sleep(0.02)",
                (number,),
            ).fetchone()
        return (0, 0) if row is None else (row[0], row[1])

    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(ask, range(80)))
    assert [number for number, _ in answers] == list(range(80))
    assert 1 < max(active for _, active in answers) <= 8
