"""Named queries over what people decided on findings."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import text

from server.store.database import UnitOfWork

_FORGET = text("delete from review where tenant = :tenant and report = :report")
_RECORD = text(
    """
    insert into review (tenant, report, tracking_uid, adapter, adapter_version, decision)
    values (:tenant, :report, :tracking_uid, :adapter, :adapter_version, :decision)
    """
)
_SHARES = """
    select adapter, adapter_version,
      count(*) filter (where decision = 'accepted'), count(*) filter (where decision = 'edited'),
      count(*) filter (where decision = 'rejected'), count(*) filter (where decision = 'added')
    from review where %s group by adapter, adapter_version order by adapter, adapter_version
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """How people judged the findings of one version of a model."""

    adapter: str
    adapter_version: str
    accepted: int
    edited: int
    rejected: int
    #: What it missed.
    added: int

    @property
    def accepted_share(self) -> float | None:
        """Of its findings that a person decided on, those that stood as they were; None before the first."""
        decided = self.accepted + self.edited + self.rejected
        return self.accepted / decided if decided else None


def record(uow: UnitOfWork, tenant: int, report: str, adapter: str, version: str, decisions: Mapping[str, str]) -> None:
    """Keeps the decision on each lesion (by Tracking UID) of a report, in place of those before."""
    uow.execute(_FORGET, {"tenant": tenant, "report": report})
    for tracking_uid, decision in sorted(decisions.items()):
        values = {"adapter": adapter, "adapter_version": version, "decision": decision}
        uow.execute(_RECORD, {"tenant": tenant, "report": report, "tracking_uid": tracking_uid, **values})


def shares(uow: UnitOfWork, tenant: int | None = None) -> tuple[Share, ...]:
    """By version of each model; of all tenants together where none is named."""
    condition, parameters = ("tenant = %s", (tenant,)) if tenant is not None else ("true", ())
    rows = uow.driver.execute((_SHARES % condition).encode(), parameters).fetchall()
    return tuple(
        Share(adapter=row[0], adapter_version=row[1], accepted=row[2], edited=row[3], rejected=row[4], added=row[5])
        for row in rows
    )
