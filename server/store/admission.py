"""Named queries that decide whether an instance may come in, and how much room its sender has taken."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from server.store.database import UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class Withheld:
    """An instance that was deleted or rejected before it came (again)."""

    instance: str
    #: Whether a rejection note speaks of it; else it was deleted.
    rejected: bool
    #: DICOM code of the reason; empty for a plain DELETE.
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """What instances of one sender take."""

    sender: str
    bytes: int
    instances: int


def withheld(uow: UnitOfWork, tenant: int, instances: Iterable[str]) -> list[Withheld]:
    """Those of the SOP Instance UIDs that were deleted or rejected."""
    rows = uow.driver.execute(
        "select instance, false, reason from tombstone where tenant = %(tenant)s and instance = any(%(uids)s) "
        "union all "
        "select instance, true, reason from rejection where tenant = %(tenant)s and instance = any(%(uids)s)",
        {"tenant": tenant, "uids": list(instances)},
    )
    return [Withheld(instance=row[0], rejected=row[1], reason=row[2]) for row in rows]


def note_use(uow: UnitOfWork, tenant: int, sender: str, added: int, instances: int) -> None:
    """Adds to what a sender takes, bytes and instances."""
    uow.driver.execute(
        "insert into storage_use (tenant, sender, bytes, instances) values (%s, %s, %s, %s)",
        (tenant, sender, added, instances),
    )


def use(uow: UnitOfWork, tenant: int) -> list[Use]:
    """What each sender takes."""
    rows = uow.driver.execute(
        "select sender, sum(bytes)::bigint, sum(instances)::bigint from storage_use where tenant = %s "
        "group by sender order by sender",
        (tenant,),
    )
    return [Use(sender=row[0], bytes=row[1], instances=row[2]) for row in rows]


def fold_use(uow: UnitOfWork) -> int:
    """Sums the entries of each sender into one; how many there were."""
    row = uow.driver.execute(
        "with gone as (delete from storage_use returning tenant, sender, bytes, instances), folded as ("
        "insert into storage_use (tenant, sender, bytes, instances) select tenant, sender, sum(bytes), sum(instances) "
        "from gone group by tenant, sender) select count(*) from gone"
    ).fetchone()
    return int(row[0]) if row else 0


def reject(uow: UnitOfWork, tenant: int, note: str, reason: str, who: str, named: Sequence[tuple[str, str]]) -> None:
    """Notes that a rejection note speaks of these (study, instance); an earlier note is overruled."""
    uow.driver.execute(
        "insert into rejection (tenant, instance, study, note, reason, who) "
        "select %s, u.instance, u.study, %s, %s, %s from unnest(%s::text[], %s::text[]) as u(study, instance) "
        "on conflict (tenant, instance) do update set note = excluded.note, reason = excluded.reason, "
        "who = excluded.who, at = excluded.at",
        (tenant, note, reason, who, [study for study, _ in named], [instance for _, instance in named]),
    )
    uow.driver.execute(
        "insert into audit (tenant, who, action, type, id, version) "
        "select %s, %s, 'reject', 'SOPInstance', uid, 1 from unnest(%s::text[]) as u(uid)",
        (tenant, who, [instance for _, instance in named]),
    )


def take_back(uow: UnitOfWork, tenant: int, notes: Iterable[str]) -> None:
    """The notes hold no more: their rejections lose their reason, till the instances are stored anew."""
    uow.driver.execute("update rejection set reason = '' where tenant = %s and note = any(%s)", (tenant, list(notes)))


def taken_back(uow: UnitOfWork, most: int = 1000) -> list[tuple[int, str, int, int]]:
    """Hidden instances whose rejection holds no more: tenant, pack, offset and length."""
    rows = uow.driver.execute(
        "select h.tenant, h.pack, h.pack_offset, h.length from hidden_instance h join rejection r "
        "on r.tenant = h.tenant and r.instance = h.instance where r.reason = '' "
        "order by h.tenant, h.pack, h.pack_offset limit %s",
        (most,),
    )
    return rows.fetchall()


def forget_rejections(uow: UnitOfWork, tenant: int, instances: Iterable[str]) -> None:
    """The instances are rejected no more."""
    uow.driver.execute("delete from rejection where tenant = %s and instance = any(%s)", (tenant, list(instances)))


def overlooked(uow: UnitOfWork, shown: Sequence[str]) -> list[tuple[int, str, list[str]]]:
    """Rejected instances that are still seen: tenant, study and UIDs; ``shown`` are the reasons that hide nothing."""
    rows = uow.driver.execute(
        "select i.tenant, i.study, array_agg(i.instance) from rejection r join instance i on i.tenant = r.tenant "
        "and i.instance = r.instance where r.reason <> '' and r.reason <> all(%s) group by i.tenant, i.study",
        (list(shown),),
    )
    return rows.fetchall()


def expired_hidden(uow: UnitOfWork, at_once: str, days: int, most: int = 1000) -> list[tuple[int, str, str, str]]:
    """Hidden instances whose time is over: tenant, study, UID, reason.

    Those rejected for the reason ``at_once``, and the others after ``days``; 0 keeps them.
    """
    rows = uow.driver.execute(
        "select h.tenant, h.study, h.instance, r.reason from hidden_instance h join rejection r "
        "on r.tenant = h.tenant and r.instance = h.instance where not exists (select from study_lock l "
        "where l.tenant = h.tenant and l.study = h.study) and (r.reason = %s or (r.reason <> '' and %s > 0 "
        "and r.at < clock_timestamp() - make_interval(days => %s))) limit %s",
        (at_once, days, days, most),
    )
    return rows.fetchall()
