"""Named queries of retention: studies whose days are over, and whether a peer has them."""

from datetime import date

from server.store.database import UnitOfWork


def tenants(uow: UnitOfWork) -> list[int]:
    """Every tenant."""
    return [row[0] for row in uow.driver.execute("select tenant from tenant order by tenant")]


def due(uow: UnitOfWork, tenant: int, *, by_study_date: bool, last: date, days: int) -> list[str]:
    """Studies whose Study Date is ``last`` or earlier, or that came ``days`` ago or earlier; the oldest first.

    Without a Study Date the receipt counts. Locked studies are left out, and those that changed within a day: who
    imports old studies wants to have them.
    """
    old = "s.created < clock_timestamp() - make_interval(days => %(days)s)"
    if by_study_date:
        old = f"((s.study_date <> '' and s.study_date <= %(last)s) or (s.study_date = '' and {old}))"
    rows = uow.driver.execute(
        f"select s.study from study s where s.tenant = %(tenant)s and not s.locked and {old} and not exists "
        "(select from study_activity a where a.tenant = s.tenant and a.study = s.study "
        "and a.last_seen > clock_timestamp() - interval '1 day') order by s.study_date, s.created, s.study".encode(),
        {"tenant": tenant, "days": days, "last": last.strftime("%Y%m%d")},
    )
    return [row[0] for row in rows]


def unconfirmed(uow: UnitOfWork, tenant: int, study: str, peer: str, *, committed: bool) -> list[str]:
    """The instances of a study that the peer has not confirmed; ``committed``: by storage commitment."""
    confirmed = "d.committed is not null" if committed else "d.sent is not null"
    rows = uow.driver.execute(
        "select i.instance from instance i where i.tenant = %(tenant)s and i.study = %(study)s and not exists "
        "(select from sending d where d.tenant = i.tenant and d.peer = %(peer)s and d.instance = i.instance "
        f"and {confirmed}) order by 1".encode(),
        {"tenant": tenant, "study": study, "peer": peer},
    )
    return [row[0] for row in rows]
