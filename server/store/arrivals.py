"""Instances into series that are there already: one statement, one transaction, for all who wait at that moment.

The database works while the instances' bytes become durable; the commit waits for both.

Most instances belong to a series that an earlier one has opened. For them the index, the counts, the audit and the
study's activity take one round trip. What the statement leaves out (a new series, an instance that is there already,
another patient, a locked study, attributes declared this moment, what was deleted or rejected before, and Key Object
Selections, which may be rejection notes) is for the longer way of ``server.store.instances``.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter

import psycopg

from server.errors import Conflict, HutongError
from server.store.database import Database
from server.store.extended_tags import ARRAYS, ValueRow, arrays
from server.store.instances import InstanceRow, column_types
from server.store.raw_statement import RawStatement, array

#: Key Object Selection Document Storage (PS3.4 B.5).
KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
#: Instances of one transaction; beyond it the senders that wait make the next one.
_MOST = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """One instance, its bytes durable, and the patient whom its study must belong to."""

    row: InstanceRow
    patient: str
    #: Values of declared attributes, and under which declarations they were looked for.
    values: Sequence[ValueRow] = ()
    declared: str = ""


_COLUMNS = [f.name for f in fields(InstanceRow)]
_VALUES = attrgetter(*_COLUMNS)
_NAMES = ", ".join(f'"{name}"' for name in _COLUMNS)
_ARRAYS = ", ".join(f"%b::{kind}[]" for kind in column_types(InstanceRow).values())
_VALUED = f"""valued as (
    insert into attribute_value (tenant, tag, kind, value, entity, items, number)
    select distinct f.tenant, v.tag, v.kind, v.value, v.entity, string_to_array(v.items, '/'), v.number
    from unnest(%b::text[], {ARRAYS}) as v(instance, tag, kind, value, entity, items, number)
    join fresh f on f.instance = v.instance order by 1, 2, 3, 4, 5, 6 on conflict do nothing
),
"""
_STATEMENT = f"""
with new ({_NAMES}, patient, declared) as (select * from unnest({_ARRAYS}, %b::text[], %b::text[])),
-- Studies before series, as everybody else: else a deletion and an arrival could wait for each other.
held as (
    select tenant, study, patient from study where tenant = %b and study in (select study from new) and not locked
    order by study for no key update
),
fresh as (
    insert into instance (tenant, {_NAMES}) select s.tenant, {", ".join(f'new."{name}"' for name in _COLUMNS)} from new
    join held t on t.study = new.study and t.patient = new.patient
    join series s on s.tenant = t.tenant and s.series = new.series and s.study = new.study
    where new.sop_class <> '{KEY_OBJECT_SELECTION}' and new.declared = (
        select coalesce(string_agg(tag::text, ',' order by tag), '') from extended_tag where tenant = %b
    )
    and not exists (select from tombstone x where x.tenant = s.tenant and x.instance = new.instance)
    and not exists (select from rejection x where x.tenant = s.tenant and x.instance = new.instance)
    order by new.instance on conflict do nothing returning tenant, instance, series, study, sop_class, sender, length
),
{_VALUED}used as (
    insert into storage_use (tenant, sender, bytes, instances)
    select tenant, sender, sum(length), count(*) from fresh group by 1, 2
),
audited as (
    insert into audit (tenant, who, action, type, id, version)
    select tenant, sender, 'create', 'SOPInstance', instance, 1 from fresh
),
counted as (
    update series s set instance_count = s.instance_count + n.n
    from (select tenant, series, count(*) n from fresh group by 1, 2) n
    where s.tenant = n.tenant and s.series = n.series
),
summed as (
    update study t set instance_count = t.instance_count + n.n,
        sop_classes = case when n.classes <@ t.sop_classes then t.sop_classes
            else array(select distinct c from unnest(t.sop_classes || n.classes) c order by 1) end
    from (select tenant, study, count(*) n, array_agg(distinct sop_class) classes from fresh group by 1, 2) n
    where t.tenant = n.tenant and t.study = n.study
),
touched as (
    insert into study_activity as a (tenant, study) select distinct tenant, study from fresh order by study
    on conflict (tenant, study) do update set last_seen = clock_timestamp(), revision = a.revision + 1
)
select instance from fresh
"""

#: The same where no values of declared attributes come, which is usual: packed here, and waited for by libpq.
_KINDS = (*column_types(InstanceRow).values(), "text", "text")
_PLAIN = _STATEMENT.replace(_VALUED, "")
_BARE = RawStatement(
    "arrivals",
    "".join(f"{text}${number}" for number, text in enumerate(_PLAIN.split("%b")[:-1], 1))
    + _PLAIN.rsplit("%b", maxsplit=1)[-1],
    [1] * len(_KINDS) + [0] * 2,
)


def _taken() -> threading.Lock:
    """A lock that somebody else will free: half the cost of an Event."""
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(kw_only=True, slots=True)
class _Waiting:
    """One sender's instances."""

    tenant: int
    arrivals: Sequence[Arrival]
    #: Free when the sender's bytes are durable, or will never be.
    synced: threading.Lock = field(default_factory=_taken)
    #: Free when its answer is there, or when it is its turn to lead.
    woken: threading.Lock = field(default_factory=_taken)
    new: frozenset[str] | None = None
    error: HutongError | None = None
    tried: bool = False

    def make_durable(self, sync: Callable[[], None]) -> None:
        """Runs ``sync`` in the sender's thread; what goes wrong is the answer."""
        self.tried = True
        try:
            sync()
        except HutongError as error:
            self.error = error
        finally:
            self.synced.release()


class Arrivals:
    """Takes instances of many senders at once: the first who comes commits for all who wait with it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._queue: deque[_Waiting] = deque()
        self._led = False

    def add(self, tenant: int, arrivals: Sequence[Arrival], sync: Callable[[], None]) -> frozenset[str]:
        """Commits those that it can, once ``sync`` has made their bytes durable; gives their SOP Instance UIDs.

        Raises Unavailable, from ``sync`` too: then nothing is certain.
        """
        # Nothing becomes durable that nobody could enter.
        self._database.reach()
        mine = _Waiting(tenant=tenant, arrivals=arrivals)
        with self._lock:
            self._queue.append(mine)
            leads, self._led = not self._led, True
        if not leads:
            mine.make_durable(sync)
            mine.woken.acquire()
        if mine.new is None:
            self._lead(mine, sync)
        if mine.error is not None:
            raise mine.error
        return mine.new or frozenset()

    def _lead(self, mine: _Waiting, sync: Callable[[], None]) -> None:
        """Commits for everybody who waits, then hands the lead on."""
        with self._lock:
            group = self._group(mine.tenant)

        def all_durable() -> None:
            """Raises Unavailable where the bytes of one of them are not."""
            if not mine.tried:
                mine.make_durable(sync)
            for waiting in group:
                waiting.synced.acquire()
            for waiting in group:
                if waiting.error is not None:
                    raise waiting.error

        try:
            self._commit(mine.tenant, group, all_durable)
        finally:
            with self._lock:
                following = self._queue[0] if self._queue else None
                self._led = following is not None
            for waiting in group:
                waiting.woken.release()
            if following is not None:
                following.woken.release()

    def _group(self, tenant: int) -> list[_Waiting]:
        """Takes those of one tenant off the queue, first come first; the leader is always the first."""
        group: list[_Waiting] = []
        size = 0
        while self._queue and self._queue[0].tenant == tenant:
            size += len(self._queue[0].arrivals)
            if group and size > _MOST:
                break
            group.append(self._queue.popleft())
        return group

    def _commit(self, tenant: int, group: list[_Waiting], all_durable: Callable[[], None]) -> None:
        # Of two who bring the same at once one is first; the other's is compared on the longer way.
        first: dict[str, _Waiting] = {}
        for waiting in group:
            for arrival in waiting.arrivals:
                first.setdefault(arrival.row.instance, waiting)
        mine = [[a for a in waiting.arrivals if first[a.row.instance] is waiting] for waiting in group]
        new: frozenset[str] = frozenset()
        error: HutongError | None = None
        try:
            new = self._execute(tenant, [arrival for arrivals in mine for arrival in arrivals], all_durable)
        except Conflict:
            # The longer way tries again, each sender alone.
            pass
        except HutongError as failure:
            error = failure
        finally:
            for waiting, arrivals in zip(group, mine, strict=True):
                waiting.new = new.intersection(arrival.row.instance for arrival in arrivals)
                waiting.error = waiting.error or error

    def _execute(self, tenant: int, arrivals: Sequence[Arrival], all_durable: Callable[[], None]) -> frozenset[str]:
        columns = [*zip(*(_VALUES(arrival.row) for arrival in arrivals), strict=True)]
        columns += [tuple(arrival.patient for arrival in arrivals), tuple(arrival.declared for arrival in arrivals)]
        values = [(arrival.row.instance, value) for arrival in arrivals for value in arrival.values]
        with self._database.statement() as connection:
            try:
                if not values:
                    packed = [array(kind, column) for kind, column in zip(_KINDS, columns, strict=True)]
                    number = str(tenant).encode("ascii")
                    running = _BARE.send(connection, [*packed, number, number])
                    all_durable()
                    return frozenset(running.commit())
                all_durable()
                more = [uid for uid, _ in values], *arrays([value for _, value in values])
                lists = [list(column) for column in columns]
                found = connection.execute(_STATEMENT, (*lists, tenant, tenant, *more), prepare=True).fetchall()
            except psycopg.OperationalError:
                raise
            except psycopg.Error:
                # E.g. the series was deleted in this moment: the longer way tells whose instance it is, and why.
                return frozenset()
        return frozenset(row[0] for row in found)
