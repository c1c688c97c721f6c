"""Named queries that take instances out of the index, for good or out of sight, and keep the counts right."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from server.store.database import UnitOfWork
from server.store.tables.imaging import instance as instance_table

#: ``instance`` is what everybody sees; ``hidden_instance`` what a rejection note took out of sight.
Where = Literal["instance", "hidden_instance"]

_COLUMNS = ", ".join(f'"{column.name}"' for column in instance_table.columns)
_TAKEN = "instance, series, study, sop_class, pack, length, sender, digest"


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """An instance that was taken out of the index."""

    instance: str
    series: str
    study: str
    sop_class: str
    pack: str
    length: int
    sender: str
    digest: bytes


def hold_study(uow: UnitOfWork, tenant: int, study: str) -> bool:
    """Holds the study against every other writer till the commit; whether it is there."""
    row = uow.driver.execute(
        "select 1 from study where tenant = %s and study = %s for update", (tenant, study)
    ).fetchone()
    return row is not None


def take_out(
    uow: UnitOfWork, tenant: int, where: Where, study: str, series: str = "", instances: Sequence[str] = ()
) -> list[Taken]:
    """Deletes the rows of a study, a series or some instances of it; gives what was there."""
    narrow, values = _narrow(tenant, study, series, instances)
    rows = uow.driver.execute(f"delete from {where} where {narrow} returning {_TAKEN}".encode(), values)
    names = _TAKEN.split(", ")
    return [Taken(**dict(zip(names, row, strict=True))) for row in rows]


def move(uow: UnitOfWork, tenant: int, source: Where, target: Where, study: str, instances: Sequence[str]) -> list[str]:
    """Moves rows between the table that is seen and the one that is not; gives the UIDs that moved."""
    narrow, values = _narrow(tenant, study, "", instances)
    rows = uow.driver.execute(
        f"with taken as (delete from {source} where {narrow} returning {_COLUMNS}) "
        f"insert into {target} ({_COLUMNS}) select {_COLUMNS} from taken on conflict do nothing "
        "returning instance".encode(),
        values,
    )
    return [row[0] for row in rows]


def _narrow(tenant: int, study: str, series: str, instances: Sequence[str]) -> tuple[str, list[object]]:
    where, values = "tenant = %s and study = %s", list[object]([tenant, study])
    if series:
        where += " and series = %s"
        values.append(series)
    if instances:
        where += " and instance = any(%s)"
        values.append(list(instances))
    return where, values


def recount(uow: UnitOfWork, tenant: int, study: str) -> None:
    """Counts, modalities and SOP classes of what is left; series, study and patient go when nothing is left of them."""
    key = {"tenant": tenant, "study": study}
    uow.driver.execute(
        "update series s set instance_count = (select count(*) from instance i where i.tenant = s.tenant "
        "and i.series = s.series) where s.tenant = %(tenant)s and s.study = %(study)s",
        key,
    )
    empty = uow.driver.execute(
        "delete from series where tenant = %(tenant)s and study = %(study)s and instance_count = 0 returning series",
        key,
    ).fetchall()
    _forget_values(uow, tenant, [row[0] for row in empty])
    gone = uow.driver.execute(
        "delete from study s where s.tenant = %(tenant)s and s.study = %(study)s and not exists "
        "(select from series e where e.tenant = s.tenant and e.study = s.study) returning patient",
        key,
    ).fetchone()
    if gone is not None:
        left = uow.driver.execute(
            "delete from patient p where p.tenant = %s and p.patient = %s and not exists "
            "(select from study s where s.tenant = p.tenant and s.patient = p.patient) returning patient",
            (tenant, gone[0]),
        ).fetchall()
        _forget_values(uow, tenant, [study, *(row[0] for row in left)])
        return
    uow.driver.execute(
        "update study t set instance_count = n.instances, series_count = n.series, modalities = n.modalities, "
        "sop_classes = array(select distinct i.sop_class from instance i where i.tenant = t.tenant "
        "and i.study = t.study order by 1) from (select count(*) series, coalesce(sum(instance_count), 0) instances, "
        "coalesce(array_agg(distinct modality order by modality) filter (where modality <> ''), '{}') modalities "
        "from series where tenant = %(tenant)s and study = %(study)s) n "
        "where t.tenant = %(tenant)s and t.study = %(study)s",
        key,
    )


def _forget_values(uow: UnitOfWork, tenant: int, entities: Sequence[str]) -> None:
    """The values of declared attributes go with what had them."""
    uow.driver.execute("delete from attribute_value where tenant = %s and entity = any(%s)", (tenant, list(entities)))


def bury(uow: UnitOfWork, tenant: int, taken: Sequence[Taken], *, who: str, reason: str) -> None:
    """Tombstones and audit rows, the bytes counted as removed in their packs, and off the senders' use."""
    if not taken:
        return
    uow.driver.execute(
        "insert into tombstone (tenant, instance, series, study, sop_class, digest, who, reason) "
        "select %s, u.*, %s, %s from unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bytea[]) as u "
        "on conflict (tenant, instance) do update set who = excluded.who, reason = excluded.reason, "
        "digest = excluded.digest, at = excluded.at",
        (
            *(tenant, who, reason),
            *([getattr(t, name) for t in taken] for name in ("instance", "series", "study", "sop_class", "digest")),
        ),
    )
    uow.driver.execute(
        "insert into audit (tenant, who, action, type, id, version) "
        "select %s, %s, 'delete', 'SOPInstance', uid, 1 from unnest(%s::text[]) as u(uid)",
        (tenant, who, [t.instance for t in taken]),
    )
    _forget_values(uow, tenant, [t.instance for t in taken])
    free(uow, tenant, taken)


def free(uow: UnitOfWork, tenant: int, taken: Sequence[Taken]) -> None:
    """Counts the bytes as removed in their packs, and off the senders' use."""
    arrays = [t.pack for t in taken], [t.length for t in taken]
    # Held in the order of their names, so that two removals wait for each other and never for each other's wait.
    uow.driver.execute(
        "select from pack where tenant = %s and pack = any(%s) order by pack for no key update", (tenant, arrays[0])
    )
    uow.driver.execute(
        "update pack p set removed = p.removed + n.n from (select pack, sum(length) n "
        "from unnest(%s::text[], %s::bigint[]) as u(pack, length) group by pack) n "
        "where p.tenant = %s and p.pack = n.pack",
        (*arrays, tenant),
    )
    uow.driver.execute(
        "insert into storage_use (tenant, sender, bytes, instances) select %s, sender, -sum(length), -count(*) "
        "from unnest(%s::text[], %s::bigint[]) as u(sender, length) group by sender",
        (tenant, [t.sender for t in taken], arrays[1]),
    )


def is_buried(uow: UnitOfWork, tenant: int, study: str, series: str = "", instance: str = "") -> bool:
    """Whether there is a tombstone of such a study, series or instance."""
    names = [("study", study), ("series", series), ("instance", instance)]
    where = "".join(f" and {name} = %s" for name, value in names if value)
    row = uow.driver.execute(
        f"select 1 from tombstone where tenant = %s{where} limit 1".encode(),
        (tenant, *(value for _, value in names if value)),
    ).fetchone()
    return row is not None


def unbury(uow: UnitOfWork, tenant: int, instances: Iterable[str]) -> None:
    """Forgets the tombstones of instances that came again."""
    uow.driver.execute("delete from tombstone where tenant = %s and instance = any(%s)", (tenant, list(instances)))


def uncleared(uow: UnitOfWork, most: int = 10_000) -> list[tuple[int, bytes]]:
    """Tenant and SHA-256 of deleted instances of which something may be left; marked as cleared with the commit."""
    return uow.driver.execute(
        "with due as (select tenant, instance, digest from tombstone where digest is not null order by at limit %s "
        "for update skip locked) update tombstone t set digest = null from due where t.tenant = due.tenant "
        "and t.instance = due.instance returning t.tenant, due.digest",
        (most,),
    ).fetchall()


def expire_tombstones(uow: UnitOfWork, days: int) -> int:
    """Deletes tombstones older than ``days``; how many."""
    return uow.driver.execute(
        "delete from tombstone where at < clock_timestamp() - make_interval(days => %s)", (days,)
    ).rowcount
