"""Named queries on the versions of many resources: the history of a type and of the system."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from server.store.database import UnitOfWork
from server.store.resources import Stored


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a version stands in a history: newest first, of one moment by type, id and version."""

    moment: datetime
    type: str
    id: str
    version: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Which versions are meant."""

    #: Written at or after this moment.
    since: datetime | None = None
    #: Current at some moment between these two, both included.
    at: tuple[datetime, datetime] | None = None


#: Every version.
EVERY = Span()
_NAMES = ("type", "id", "version", "last_updated", "deleted", "body")
_COLUMNS = ", ".join("v." + name for name in _NAMES)
_ORDER = "last_updated desc, type desc, id desc, version desc"
#: The version that came after a superseded one was written so late that this one was still current.
_ENDED_LATER = """
    and coalesce(
        (select n.last_updated from resource_history n
         where n.tenant = v.tenant and n.type = v.type and n.id = v.id and n.version = v.version + 1),
        (select n.last_updated from resource n where n.tenant = v.tenant and n.type = v.type and n.id = v.id)
    ) > %(low)s"""


def versions(
    uow: UnitOfWork, tenant: int, types: Sequence[str], span: Span, *, count: int, after: Place | None = None
) -> tuple[Stored, ...]:
    """Versions of all resources of the types, newest first: at most ``count``, those behind ``after``.

    Each type is asked for by itself, since the index leads with it; what they give is merged.
    """
    rest, values = _condition(span, after)
    values |= {"tenant": tenant, "types": list(types), "count": count}
    current = f"select {_COLUMNS} from resource v where v.tenant = %(tenant)s and v.type = t.type{rest}"
    superseded = f"select {_COLUMNS} from resource_history v where v.tenant = %(tenant)s and v.type = t.type{rest}"
    if span.at is not None:
        superseded += _ENDED_LATER
    limited = f"order by {_ORDER} limit %(count)s"
    statement = f"""
        select found.* from unnest(%(types)s::text[] collate "C") as t (type),
        lateral (({current} {limited}) union all ({superseded} {limited})) found {limited}"""
    return tuple(Stored(**dict(zip(_NAMES, row, strict=True))) for row in uow.driver.execute(statement, values))


def of_one(
    uow: UnitOfWork, tenant: int, resource_type: str, id: str, span: Span, *, count: int, before: int | None = None
) -> tuple[Stored, ...]:
    """Versions of one resource, newest first: at most ``count``, below version ``before``."""
    rest, values = _condition(span, None)
    if before is not None:
        rest += " and v.version < %(before)s"
    values |= {"tenant": tenant, "type": resource_type, "id": id, "count": count, "before": before}
    parts = [
        f"select {_COLUMNS} from {table} v where v.tenant = %(tenant)s and v.type = %(type)s and v.id = %(id)s{rest}"
        for table in ("resource", "resource_history")
    ]
    if span.at is not None:
        parts[1] += _ENDED_LATER
    statement = f"{parts[0]} union all {parts[1]} order by version desc limit %(count)s"
    return tuple(Stored(**dict(zip(_NAMES, row, strict=True))) for row in uow.driver.execute(statement, values))


def _condition(span: Span, after: Place | None) -> tuple[str, dict[str, object]]:
    text = ""
    values: dict[str, object] = {}
    if span.since is not None:
        text, values["since"] = f"{text} and v.last_updated >= %(since)s", span.since
    if span.at is not None:
        text += " and v.last_updated <= %(high)s"
        values["low"], values["high"] = span.at
    if after is not None:
        text += (
            " and v.last_updated <= %(moment)s"
            " and (v.last_updated, v.type, v.id, v.version) < (%(moment)s, %(after_type)s, %(after_id)s, %(after)s)"
        )
        values |= {"moment": after.moment, "after_type": after.type, "after_id": after.id, "after": after.version}
    return text, values
