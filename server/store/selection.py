"""Named query: the instances that a retrieval's unique keys select."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from server.store.database import UnitOfWork
from server.store.studies import Located

_COLUMNS = ", ".join(f"i.{field.name}" for field in fields(Located))


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Unique keys; an empty one does not narrow."""

    patient: str = ""
    issuer: str = ""
    studies: Sequence[str] = ()
    series: Sequence[str] = ()
    instances: Sequence[str] = ()


def select(uow: UnitOfWork, tenant: int, selection: Selection) -> list[Located]:
    """Where the selected instances are, in study, series and instance number order."""
    where, values = ["i.tenant = %s"], list[object]([tenant])
    for column, uids in (("study", selection.studies), ("series", selection.series), ("instance", selection.instances)):
        if uids:
            where.append(f"i.{column} = any(%s)")
            values.append(list(uids))
    if selection.patient:
        issuer = " and p.issuer = %s" if selection.issuer else ""
        where.append(
            "i.study in (select s.study from study s join patient p on p.tenant = s.tenant and p.patient = s.patient "
            f"where s.tenant = %s and p.patient_id = %s{issuer})"
        )
        values += [tenant, selection.patient, *([selection.issuer] if selection.issuer else [])]
    sql = (
        f"select {_COLUMNS} from instance i where {' and '.join(where)} "
        "order by i.study, i.series, i.instance_number nulls last, i.instance"
    )
    names = [field.name for field in fields(Located)]
    return [Located(**dict(zip(names, row, strict=True))) for row in uow.driver.execute(sql.encode(), values)]
