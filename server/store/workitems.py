"""Named queries for workitems."""

from collections.abc import Iterator
from dataclasses import dataclass

from server.store.database import UnitOfWork

_FIELDS = "workitem, state, transaction_uid, task, adapter, attributes, deleted is not null"
#: Workitems of one look.
_PAGE = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredWorkitem:
    """A Unified Procedure Step as it is kept."""

    workitem: str
    state: str
    #: The lock; empty while nobody claimed it.
    transaction_uid: str = ""
    #: Id of the Task that it shows; empty for others' workitems.
    task: str = ""
    #: The adapter that the Task asks for.
    adapter: str = ""
    #: DICOM JSON without the Transaction UID.
    attributes: bytes
    #: Whether it was deleted: its UID is remembered.
    deleted: bool = False


def add(uow: UnitOfWork, tenant: int, item: StoredWorkitem) -> bool:
    """Enters a workitem; False where its UID is taken."""
    added = uow.driver.execute(
        "insert into workitem (tenant, workitem, state, transaction_uid, task, adapter, attributes) "
        "values (%s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
        (tenant, item.workitem, item.state, item.transaction_uid, item.task, item.adapter, item.attributes),
    )
    return added.rowcount == 1


def get(uow: UnitOfWork, tenant: int, workitem: str, *, lock: bool = False) -> StoredWorkitem | None:
    """A workitem, deleted ones too; with ``lock`` nobody else changes it until the transaction ends."""
    row = uow.driver.execute(
        f"select {_FIELDS} from workitem where tenant = %s and workitem = %s{' for update' if lock else ''}".encode(),
        (tenant, workitem),
    ).fetchone()
    return None if row is None else _item(row)


def _item(row: tuple[str, str, str, str, str, bytes, bool]) -> StoredWorkitem:
    return StoredWorkitem(
        workitem=row[0], state=row[1], transaction_uid=row[2], task=row[3], adapter=row[4], attributes=row[5],
        deleted=row[6],
    )  # fmt: skip


def change(uow: UnitOfWork, tenant: int, workitem: str, *, state: str, transaction_uid: str, attributes: bytes) -> None:
    """Writes a workitem's new state, lock and attributes."""
    uow.driver.execute(
        "update workitem set state = %(state)s, transaction_uid = %(lock)s, attributes = %(attributes)s, "
        "updated = clock_timestamp(), ended = case when %(state)s in ('COMPLETED', 'CANCELED') "
        "then coalesce(ended, clock_timestamp()) end where tenant = %(tenant)s and workitem = %(workitem)s",
        {"tenant": tenant, "workitem": workitem, "state": state, "lock": transaction_uid, "attributes": attributes},
    )


def each(uow: UnitOfWork, tenant: int, *, states: tuple[str, ...] = ()) -> Iterator[StoredWorkitem]:
    """Every workitem that is not deleted, the oldest first; ``states`` narrows them."""
    after: tuple[object, str] = ("-infinity", "")
    while True:
        rows = uow.driver.execute(
            f"select {_FIELDS}, created from workitem where tenant = %(tenant)s and deleted is null "
            "and (created, workitem) > (%(created)s::timestamptz, %(after)s) "
            "and (%(states)s::text[] = '{}' or state = any(%(states)s)) "
            "order by created, workitem limit %(page)s".encode(),
            {"tenant": tenant, "created": after[0], "after": after[1], "states": list(states), "page": _PAGE},
        ).fetchall()
        yield from (_item(row[:7]) for row in rows)
        if len(rows) < _PAGE:
            return
        after = rows[-1][7], rows[-1][0]


def naming(uow: UnitOfWork, tenant: int, instance: str) -> list[str]:
    """Ids of the Tasks whose workitems name an instance, e.g. in their output information."""
    rows = uow.driver.execute(
        "select task from workitem where tenant = %s and task <> '' and deleted is null "
        "and position(%s::bytea in attributes) > 0 order by task",
        (tenant, f'"{instance}"'.encode()),
    )
    return [row[0] for row in rows]


def forget(uow: UnitOfWork, days: float, tombstone_days: int) -> int:
    """Deletes what ended ``days`` ago and no subscriber holds by a deletion lock; gives how many.

    Their UIDs are remembered for ``tombstone_days`` more.
    """
    uow.driver.execute("delete from workitem where deleted < now() - make_interval(days => %s)", (tombstone_days,))
    rows = uow.driver.execute(
        "update workitem w set attributes = '', deleted = clock_timestamp() where deleted is null "
        "and ended < now() - %s * interval '1 day' and not exists (select from workitem_subscription s "
        "where s.tenant = w.tenant and s.workitem = w.workitem and s.deletion_lock) returning tenant, workitem",
        (days,),
    ).fetchall()
    for tenant, workitem in rows:
        uow.driver.execute("delete from workitem_subscription where tenant = %s and workitem = %s", (tenant, workitem))
    return len(rows)
