"""Which versions of resources a search sees: the current ones, or those of the moment of its first page.

A superseded version keeps its key and index rows for a while, so that pages which a client turns while others write
are cut from one and the same set (``server.store.resources``).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    FromClause,
    and_,
    cast,
    func,
    literal,
    not_,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP

from server.store.tables.resources import PgSnapshot, resource, resource_history

_COLUMNS = ("tenant", "type", "id", "version", "last_updated", "deleted", "body", "key")
#: What was written so long before a moment had been committed by then.
_SURELY = timedelta(hours=1)


#: Made once: a search uses a few, and each describes every column anew.
_ALIASES = tuple(resource.alias() for _ in range(16))


def _names() -> Iterator[FromClause]:
    yield from _ALIASES
    while True:
        yield resource.alias()


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """A moment as the database knows it, from which on what others commit is not seen."""

    #: pg_current_snapshot() as text.
    snapshot: str
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """What one tenant's search sees."""

    tenant: int
    #: None: what is current.
    moment: Moment | None = None
    #: Names for the table of resources that no other part of the statement has.
    names: Iterator[FromClause] = field(default_factory=_names, repr=False, compare=False)

    def rows(self) -> tuple[FromClause, ColumnElement[bool]]:
        """A table of resources under a name of its own, and the condition that its rows are seen."""
        if self.moment is None:
            current = next(self.names)
            return current, and_(current.c.tenant == self.tenant, not_(current.c.deleted))
        # Both parts keep their conditions inside, so that each is looked up by its own index.
        then = self._then(self.moment).subquery()
        return then, and_(then.c.tenant == self.tenant, not_(then.c.deleted))

    def _then(self, moment: Moment) -> CompoundSelect[Any]:
        snapshot = cast(moment.snapshot, PgSnapshot)

        def seen(written: ColumnElement[object], last_updated: ColumnElement[datetime]) -> ColumnElement[bool]:
            surely = last_updated < literal(moment.at - _SURELY, TIMESTAMP(timezone=True))
            return or_(written.is_(None), surely, func.pg_visible_in_snapshot(written, snapshot))

        now, before = resource.alias(), resource_history.alias()
        return union_all(
            select(*(now.c[name] for name in _COLUMNS)).where(seen(now.c.written, now.c.last_updated)),
            select(*(before.c[name] for name in _COLUMNS)).where(
                before.c.key.is_not(None),
                seen(before.c.written, before.c.last_updated),
                not_(func.pg_visible_in_snapshot(before.c.superseded_by, snapshot)),
            ),
        )
