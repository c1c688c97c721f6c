"""Named queries over packs for their keeper: what is alive in them, and moving it elsewhere."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from server.store import removal
from server.store.database import UnitOfWork

_HOLDERS = ("instance", "hidden_instance")
_ALIVE = " + ".join(
    f"(select coalesce(sum(i.length), 0) from {table} i where i.tenant = p.tenant and i.pack = p.pack)"
    for table in _HOLDERS
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PackRow:
    """A pack as the index knows it."""

    tenant: int
    pack: str
    #: Of instances, seen or hidden.
    alive: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """One instance's place in a pack."""

    instance: str
    offset: int
    length: int
    digest: bytes


def begin(uow: UnitOfWork) -> bool:
    """Whether the caller is the only keeper now; it is so until its transaction ends."""
    row = uow.driver.execute("select pg_try_advisory_xact_lock(hashtextextended('keeping', 0))").fetchone()
    return bool(row and row[0])


def packs(uow: UnitOfWork, *, changed_only: bool) -> list[PackRow]:
    """Packs in use and what is alive in them; ``changed_only``: those from which something was deleted."""
    chosen = "where p.retired is null" + (" and p.removed > 0" if changed_only else "")
    rows = uow.driver.execute(f"select p.tenant, p.pack, {_ALIVE} from pack p {chosen} order by p.tenant, p.pack")
    return [PackRow(tenant=row[0], pack=row[1], alive=int(row[2])) for row in rows]


def known(uow: UnitOfWork, tenant: int, names: Iterable[str]) -> frozenset[str]:
    """Those of the packs that have a row."""
    rows = uow.driver.execute("select pack from pack where tenant = %s and pack = any(%s)", (tenant, list(names)))
    return frozenset(row[0] for row in rows)


def contents(uow: UnitOfWork, tenant: int, pack: str) -> list[Stored]:
    """The instances in a pack, seen or hidden, in the order of their bytes."""
    rows = uow.driver.execute(
        " union all ".join(
            f"select instance, pack_offset, length, digest from {table} where tenant = %(tenant)s and pack = %(pack)s"
            for table in _HOLDERS
        )
        + " order by pack_offset",
        {"tenant": tenant, "pack": pack},
    )
    return [Stored(instance=row[0], offset=row[1], length=row[2], digest=row[3]) for row in rows]


def repoint(uow: UnitOfWork, tenant: int, old: str, new: str, moved: Sequence[tuple[Stored, int]]) -> int:
    """Lets the rows say the new pack and offsets, and retires the old one; gives the bytes that were still wanted."""
    uow.driver.execute("insert into pack (tenant, pack) values (%s, %s) on conflict do nothing", (tenant, new))
    wanted = 0
    for table in _HOLDERS:
        rows = uow.driver.execute(
            f"update {table} i set pack = %s, pack_offset = n.target from unnest(%s::text[], %s::bigint[], "
            "%s::bigint[]) as n(instance, source, target) where i.tenant = %s and i.instance = n.instance "
            "and i.pack = %s and i.pack_offset = n.source returning i.length".encode(),
            (
                new,
                [one.instance for one, _ in moved],
                [one.offset for one, _ in moved],
                [target for _, target in moved],
                tenant,
                old,
            ),
        )
        wanted += sum(row[0] for row in rows)
    copied = sum(one.length for one, _ in moved)
    uow.driver.execute(
        "update pack set removed = removed + %s where tenant = %s and pack = %s", (copied - wanted, tenant, new)
    )
    retire(uow, tenant, old)
    return wanted


def retire(uow: UnitOfWork, tenant: int, pack: str) -> bool:
    """Marks a pack that holds nothing any more; whether it does."""
    return bool(
        uow.driver.execute(
            f"update pack p set retired = clock_timestamp() where tenant = %s and pack = %s and retired is null "
            f"and {_EMPTY}".encode(),
            (tenant, pack),
        ).rowcount
    )


_EMPTY = " and ".join(
    f"not exists (select from {table} i where i.tenant = p.tenant and i.pack = p.pack)" for table in _HOLDERS
)


def retired(uow: UnitOfWork, grace: float) -> list[tuple[int, str]]:
    """Packs that have held nothing for ``grace`` seconds."""
    rows = uow.driver.execute(
        "select tenant, pack from pack where retired < clock_timestamp() - make_interval(secs => %s)", (grace,)
    )
    return rows.fetchall()


def forget(uow: UnitOfWork, tenant: int, pack: str) -> bool:
    """Deletes a retired pack's row; whether it was there and held nothing."""
    return bool(
        uow.driver.execute(
            f"delete from pack p where tenant = %s and pack = %s and retired is not null and {_EMPTY}".encode(),
            (tenant, pack),
        ).rowcount
    )


def note_verified(uow: UnitOfWork, tenant: int, pack: str) -> None:
    """Notes that every instance in the pack was read and found as it came."""
    uow.driver.execute("update pack set verified = clock_timestamp() where tenant = %s and pack = %s", (tenant, pack))


def to_verify(uow: UnitOfWork, since: float | None) -> list[tuple[int, str, int]]:
    """Packs in use with what is alive in them: all, or those that were not verified within ``since`` seconds."""
    rows = uow.driver.execute(
        f"select p.tenant, p.pack, {_ALIVE} from pack p where p.retired is null "
        "and (%(since)s::float8 is null or p.verified is null "
        "or p.verified < clock_timestamp() - make_interval(secs => %(since)s::float8)) "
        "order by p.verified nulls first, p.tenant, p.pack",
        {"since": since},
    )
    return [(row[0], row[1], int(row[2])) for row in rows]


def miscounted(uow: UnitOfWork) -> list[tuple[int, str]]:
    """Studies (tenant and UID) whose counts are not those of their instances."""
    rows = uow.driver.execute(
        "select s.tenant, s.study from study s left join (select tenant, study, count(*) n, "
        "count(distinct series) series from instance group by tenant, study) i "
        "on i.tenant = s.tenant and i.study = s.study "
        "where s.instance_count <> coalesce(i.n, 0) or s.series_count <> coalesce(i.series, 0) order by 1, 2"
    )
    return rows.fetchall()


def count_again(uow: UnitOfWork, tenant: int, study: str) -> None:
    """Counts a study again."""
    if removal.hold_study(uow, tenant, study):
        removal.recount(uow, tenant, study)
