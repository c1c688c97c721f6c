"""A unit of work commits whole or not at all, jobs included."""

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
