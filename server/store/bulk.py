"""Named queries on asynchronous requests over many resources: https://hl7.org/fhir/R4/async.html"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from server.store.database import UnitOfWork
from server.store.tables.bulk import bulk_entry, bulk_file, bulk_subject

_PLACE = "tenant = %(tenant)s and request = %(request)s"
_COLUMNS = "request, kind, who, asked, requested, state, moment, progress, reason, expires"
_FILE_COLUMNS = "name, kind, type, count, last, source"


@dataclass(frozen=True, kw_only=True, slots=True)
class BulkRequest:
    """One request as it stands."""

    request: str
    #: export or import.
    kind: str
    who: str
    #: What was asked, as JSON.
    asked: bytes
    requested: datetime
    #: accepted, running, done or failed.
    state: str
    #: What the answer is of; None before it is known.
    moment: datetime | None
    progress: str
    #: Why it failed.
    reason: str
    expires: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class BulkFile:
    """One finished file."""

    name: str
    #: input, output, deleted or error.
    kind: str
    type: str
    count: int
    #: Id of the last resource in it.
    last: str = ""
    #: What of the client's it is about.
    source: str = ""


def add(uow: UnitOfWork, tenant: int, request: str, *, kind: str, who: str, asked: bytes) -> None:
    """A new request."""
    uow.driver.execute(
        "insert into bulk_request (tenant, request, kind, who, asked) values (%s, %s, %s, %s, %s)",
        (tenant, request, kind, who, asked),
    )


def get(uow: UnitOfWork, tenant: int, request: str, *, lock: bool = False) -> BulkRequest | None:
    """A request that has not expired; None where there is none, or it was cancelled."""
    row = uow.driver.execute(
        f"select {_COLUMNS} from bulk_request where {_PLACE} and (expires is null or expires > clock_timestamp())"
        f"{' for update' if lock else ''}".encode(),
        {"tenant": tenant, "request": request},
    ).fetchone()
    if row is None:
        return None
    values = dict(zip(_COLUMNS.split(", "), row, strict=True))
    return BulkRequest(**{**values, "asked": bytes(values["asked"])})


def seen_until(uow: UnitOfWork) -> datetime:
    """A moment whose changes this transaction sees all: before the oldest transaction that may still commit one.

    The few seconds are for changes that were stamped before their transaction began.
    """
    row = uow.driver.execute(
        "select least(clock_timestamp(), min(xact_start)) - interval '2 seconds' from pg_stat_activity "
        "where datname = current_database() and application_name = 'hutong' and pid <> pg_backend_pid()"
    ).fetchone()
    if row is None:
        raise LookupError("An aggregate gives one row.")
    moment: datetime = row[0]
    return moment


def begin(uow: UnitOfWork, tenant: int, request: str, moment: datetime) -> None:
    """Notes what moment the answer is of."""
    uow.driver.execute(
        f"update bulk_request set state = 'running', moment = %(moment)s where {_PLACE}",
        {"tenant": tenant, "request": request, "moment": moment},
    )


def progress(uow: UnitOfWork, tenant: int, request: str, text: str) -> bool:
    """Notes how far it is; False when the request is gone."""
    found = uow.driver.execute(
        f"update bulk_request set state = 'running', progress = %(text)s where {_PLACE}",
        {"tenant": tenant, "request": request, "text": text},
    )
    return found.rowcount == 1


def end(uow: UnitOfWork, tenant: int, request: str, *, hours: float, reason: str = "") -> None:
    """Done, or failed for a reason; what there is stays for some hours."""
    place = {"tenant": tenant, "request": request}
    uow.driver.execute(
        f"update bulk_request set state = %(state)s, reason = %(reason)s, moment = coalesce(moment, requested), "
        f"expires = clock_timestamp() + make_interval(secs => %(seconds)s) where {_PLACE}",
        {**place, "state": "failed" if reason else "done", "reason": reason, "seconds": hours * 3600},
    )
    for table in (bulk_entry, bulk_subject):
        uow.driver.execute(f"delete from {table.name} where {_PLACE}".encode(), place)


def remove(uow: UnitOfWork, tenant: int, request: str) -> bool:
    """Forgets a request; whether there was one."""
    place = {"tenant": tenant, "request": request}
    for table in (bulk_entry, bulk_subject, bulk_file):
        uow.driver.execute(f"delete from {table.name} where {_PLACE}".encode(), place)
    return uow.driver.execute(f"delete from bulk_request where {_PLACE}", place).rowcount == 1


def expired(uow: UnitOfWork) -> list[tuple[int, str]]:
    """(tenant, request) of those whose time is over."""
    rows = uow.driver.execute("select tenant, request from bulk_request where expires < clock_timestamp()")
    return [(row[0], row[1]) for row in rows]


def subjects(uow: UnitOfWork, tenant: int, request: str, resource_type: str, ids: Sequence[str] | None) -> int:
    """Those whose compartments are given: of these ids, or all there are of the type; how many."""
    among = "" if ids is None else " and id = any(%(ids)s)"
    found = uow.driver.execute(
        "insert into bulk_subject (tenant, request, id) select tenant, %(request)s, id from resource "
        f"where tenant = %(tenant)s and type = %(type)s and not deleted{among}".encode(),
        {"tenant": tenant, "request": request, "type": resource_type, "ids": list(ids or ())},
    )
    return found.rowcount


def tombstones(uow: UnitOfWork, tenant: int, request: str, types: Sequence[str], since: datetime) -> None:
    """Notes what was deleted since a moment."""
    uow.driver.execute(
        "insert into bulk_entry (tenant, request, type, id, version, key, deleted) "
        "select tenant, %(request)s, type, id, version, key, true from resource "
        "where tenant = %(tenant)s and type = any(%(types)s) and deleted and last_updated >= %(since)s",
        {"tenant": tenant, "request": request, "types": list(types), "since": since},
    )


def counts(uow: UnitOfWork, tenant: int, request: str, *, deleted: bool) -> dict[str, int]:
    """How many resources of each type are to be given."""
    rows = uow.driver.execute(
        f"select type, count(*) from bulk_entry where {_PLACE} and deleted = %(deleted)s group by type order by type",
        {"tenant": tenant, "request": request, "deleted": deleted},
    )
    return {row[0]: row[1] for row in rows}


def bodies(
    uow: UnitOfWork, tenant: int, request: str, resource_type: str, after: str, count: int
) -> list[tuple[str, bytes]]:
    """(id, body) of the next resources of a type that are to be given, as they were when the request began."""
    rows = uow.driver.execute(
        "select e.id, coalesce(r.body, h.body) from bulk_entry e "
        "left join resource r on r.tenant = e.tenant and r.type = e.type and r.id = e.id and r.version = e.version "
        "left join resource_history h on r.id is null "
        "and h.tenant = e.tenant and h.type = e.type and h.id = e.id and h.version = e.version "
        "where e.tenant = %(tenant)s and e.request = %(request)s and e.type = %(type)s and not e.deleted "
        "and e.id > %(after)s and coalesce(r.body, h.body) is not null order by e.id limit %(count)s",
        {"tenant": tenant, "request": request, "type": resource_type, "after": after, "count": count},
    )
    return [(row[0], bytes(row[1])) for row in rows]


def gone(uow: UnitOfWork, tenant: int, request: str, resource_type: str, after: str, count: int) -> list[str]:
    """The next ids of a type that were deleted."""
    rows = uow.driver.execute(
        f"select id from bulk_entry where {_PLACE} and type = %(type)s and deleted and id > %(after)s "
        "order by id limit %(count)s",
        {"tenant": tenant, "request": request, "type": resource_type, "after": after, "count": count},
    )
    return [row[0] for row in rows]


def add_file(uow: UnitOfWork, tenant: int, request: str, file: BulkFile) -> None:
    """Notes a finished file."""
    uow.driver.execute(
        f"insert into bulk_file (tenant, request, {_FILE_COLUMNS}) values (%s, %s, %s, %s, %s, %s, %s, %s)",
        (tenant, request, file.name, file.kind, file.type, file.count, file.last, file.source),
    )


def files(uow: UnitOfWork, tenant: int, request: str) -> list[BulkFile]:
    """The finished files, in the order of their names."""
    rows = uow.driver.execute(
        f"select {_FILE_COLUMNS} from bulk_file where {_PLACE} order by name", {"tenant": tenant, "request": request}
    )
    return [BulkFile(**dict(zip(_FILE_COLUMNS.split(", "), row, strict=True))) for row in rows]
