"""One PostgreSQL, reached through units of work: what happens in one commits together or not at all."""

import select
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import psycopg
from sqlalchemy import Connection, CursorResult, Engine, Executable, create_engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from server.errors import Conflict, Unavailable
from server.store import jobs, packed
from server.store.watch import Watch

#: What PostgreSQL ends a transaction with because of another one.
#: A foreign key is only broken by what another deleted in this moment: the house inserts what it refers to first.
_OVERTAKEN = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    psycopg.errors.ForeignKeyViolation,
)


#: Seconds that the database may take to let us in.
CONNECT_SECONDS = 10
#: Searches of one process that run at the same time.
_READERS = 8


class UnitOfWork:
    """One transaction on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def driver(self) -> psycopg.Connection[Any]:
        """The psycopg connection under this transaction, for hot statements and COPY."""
        driver = self._connection.connection.driver_connection
        if not isinstance(driver, psycopg.Connection):
            raise TypeError("The engine must run on psycopg 3.")
        return driver

    def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """Runs a SQLAlchemy Core statement in this transaction."""
        return self._connection.execute(statement, parameters)

    def defer(
        self,
        task: str,
        *,
        queue: str = "events",
        lock: str | None = None,
        schedule_in: Mapping[str, float] | None = None,
        priority: int = 0,
        **arguments: Any,
    ) -> int:
        """Defers a job that exists if and only if this transaction commits; returns its number."""
        return jobs.defer(
            self.driver, task, queue=queue, lock=lock, schedule_in=schedule_in, priority=priority, arguments=arguments
        )

    def lock(self, *key: object) -> None:
        """Takes a transaction-scoped advisory lock on ``key``; waits for whoever holds it."""
        name = "\x1f".join(str(part) for part in key)
        self.driver.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (name,))


class Database:
    """The pool of connections; opened by the composition root and handed down."""

    def __init__(self, url: str, *, pool_size: int = 16) -> None:
        """``url`` is a libpq connection string or URL, e.g. ``postgresql:///hutong?host=/run/x``."""
        self.url = url
        self._watch = Watch(url)
        self._engine: Engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: self._opened(autocommit=False),
            pool_size=pool_size,
            max_overflow=16,
            # The one used last is warm: its statements are prepared and its server process is in the cache.
            pool_use_lifo=True,
            # An error's text must not quote what was being written.
            hide_parameters=True,
        )
        event.listen(self._engine, "checkout", _refuse_broken)
        self._lock = threading.Lock()
        self._readers = threading.BoundedSemaphore(_READERS)
        #: Connections of ``statement`` that nobody uses now, by whether they wait for the disk.
        self._idle: dict[bool, list[psycopg.Connection[Any]]] = {True: [], False: []}

    @contextmanager
    def unit_of_work(self, *, one_moment: bool = False) -> Iterator[UnitOfWork]:
        """One transaction: commits at the end, rolls back when the block raises.

        With ``one_moment`` all of it sees what was there at its first statement (repeatable read).
        Conflict if another transaction was in its way, Unavailable if the database does not answer.
        """
        with _translated(), self._engine.connect() as connection:
            if one_moment:
                connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield UnitOfWork(connection)

    @contextmanager
    def reading(self) -> Iterator[UnitOfWork]:
        """One read-only transaction that sees one moment (repeatable read); Unavailable if the database is away."""
        with _translated(), self._engine.connect() as connection:
            uow = UnitOfWork(connection)
            driver = uow.driver
            driver.isolation_level, driver.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
            try:
                yield uow
                # There is nothing to keep, but a rollback would make the driver forget its prepared statements.
                driver.commit()
            finally:
                if not driver.closed:
                    driver.rollback()
                    driver.isolation_level, driver.read_only = None, None

    @contextmanager
    def statement(self, *, durable: bool = True) -> Iterator[psycopg.Connection[Any]]:
        """A connection on which each statement is a transaction of its own, for hot paths that are one statement.

        Without ``durable`` a commit does not wait for the disk, and a crash may lose the last second's: for searches,
        which note who read; they are few at a time and none may take longer than a minute.
        Conflict and Unavailable as in ``unit_of_work``.
        """
        with _translated(), nullcontext() if durable else self._readers:
            connection = self._alive(durable) or self._connect(durable)
            whole = False
            try:
                yield connection
                whole = True
            finally:
                if not whole:
                    connection.close()
            with self._lock:
                self._idle[durable].append(connection)

    def _connect(self, durable: bool) -> psycopg.Connection[Any]:
        connection = self._opened(autocommit=True)
        if durable:
            # The same statement again and again: its plan is not made anew each time the tables' statistics are.
            connection.execute("set plan_cache_mode = force_generic_plan")
        else:
            connection.execute("set synchronous_commit = off")
            connection.execute("set statement_timeout = '60s'")
        return connection

    def _opened(self, *, autocommit: bool) -> psycopg.Connection[Any]:
        connection = psycopg.connect(
            self.url, application_name="hutong", autocommit=autocommit, connect_timeout=CONNECT_SECONDS
        )
        packed.register(connection)
        self._watch.add(connection)
        return connection

    def _alive(self, durable: bool) -> psycopg.Connection[Any] | None:
        """An idle connection whose server has not gone: nothing waits to be read on it."""
        while True:
            with self._lock:
                if not self._idle[durable]:
                    return None
                connection = self._idle[durable].pop()
            if not connection.closed and not _says_something(connection):
                return connection
            connection.close()

    def reach(self) -> None:
        """Raises Unavailable when the database is known to be away; asks only where no connection is at hand."""
        if not self._idle[True]:
            with self.statement():
                pass

    def check(self) -> None:
        """Raises when the database does not answer."""
        with self.reading() as uow:
            uow.driver.execute("select 1")

    def close(self) -> None:
        """Closes every pooled connection."""
        self._watch.close()
        self._engine.dispose()
        with self._lock:
            idle, self._idle = self._idle, {True: [], False: []}
        for connection in (*idle[True], *idle[False]):
            connection.close()


def _refuse_broken(connection: Any, *_: object) -> None:
    """The pool gives no connection that has ended; asking the server itself would take as long as a read."""
    if connection.closed or _says_something(connection):
        raise DisconnectionError("The connection has ended.")


def _says_something(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server has sent what nobody asked for: that it ends. By poll: select ends at descriptor 1023."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


@contextmanager
def _translated() -> Iterator[None]:
    """The driver's errors that a caller can do something about, as the house's."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.IntegrityError, DBAPIError, PoolTimeout) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(cause, _OVERTAKEN):
            raise Conflict("Another transaction changed the same things at the same moment; repeat it.") from error
        if isinstance(cause, (psycopg.OperationalError, PoolTimeout)):
            raise Unavailable("The database does not answer now; try again in a moment.") from error
        raise
