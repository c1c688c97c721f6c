"""Named queries over the attributes declared searchable, and their values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from server.store.database import UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtendedTag:
    """One declared attribute."""

    tag: int
    #: Tags from the outermost sequence inwards, joined by dots.
    path: str
    #: Private creator of a private attribute; empty otherwise.
    creator: str
    vr: str
    #: study, series or instance.
    level: str
    #: Whether every stored instance is indexed.
    ready: bool
    #: Instances that the background job has looked at.
    indexed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueRow:
    """One row of ``attribute_value``."""

    tag: int
    kind: str
    value: str
    entity: str
    items: tuple[str, ...] = ()
    number: Decimal | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """The declarations of a tenant at one moment."""

    tags: tuple[ExtendedTag, ...] = ()
    #: Their numbers, as the statement that enters arrivals compares them.
    numbers: str = ""


_COLUMNS = "tag, path, creator, vr, level, ready, indexed"


def declared(uow: UnitOfWork, tenant: int) -> list[ExtendedTag]:
    """All declared attributes of a tenant, ready or not."""
    rows = uow.driver.execute(
        f"select {_COLUMNS} from extended_tag where tenant = %s order by path".encode(), (tenant,)
    )
    return [_tag(row) for row in rows]


def _tag(row: Sequence[object]) -> ExtendedTag:
    return ExtendedTag(**dict(zip(_COLUMNS.split(", "), row, strict=True)))  # type: ignore[arg-type]


def known(uow: UnitOfWork, tenant: int) -> Known:
    """What arrives must be entered under; whoever has asked this in a transaction holds new declarations off."""
    found = declared(uow, tenant)
    return Known(tags=tuple(found), numbers=",".join(str(number) for number in sorted(tag.tag for tag in found)))


def declare(uow: UnitOfWork, tenant: int, *, path: str, creator: str, vr: str, level: str) -> bool:
    """Declares an attribute; whether it was not declared before. It is ready at once where nothing is stored.

    Waits for every transaction that stores something without knowing of it: what later ones store is entered by them,
    what earlier ones stored is seen by the job. Raises Unavailable where that takes more than a few seconds.
    """
    uow.driver.execute("set local lock_timeout = '5s'")
    uow.driver.execute("lock table extended_tag in access exclusive mode")
    row = uow.driver.execute(
        "insert into extended_tag (tenant, path, creator, vr, level, ready) select %s, %s, %s, %s, %s, "
        "not exists (select from instance where tenant = %s) "
        "on conflict (tenant, path) do nothing returning tag",
        (tenant, path, creator, vr, level, tenant),
    ).fetchone()
    return row is not None


def withdraw(uow: UnitOfWork, tenant: int, path: str) -> bool:
    """Takes a declaration back, with all its values; whether it was there."""
    row = uow.driver.execute(
        "delete from extended_tag where tenant = %s and path = %s returning tag", (tenant, path)
    ).fetchone()
    if row is None:
        return False
    uow.driver.execute("delete from attribute_value where tenant = %s and tag = %s", (tenant, row[0]))
    return True


def next_to_index(uow: UnitOfWork) -> tuple[int, ExtendedTag, str] | None:
    """A declared attribute that is not ready, held till the commit, with its tenant and position."""
    row = uow.driver.execute(
        f"select tenant, position, {_COLUMNS} from extended_tag where not ready order by tenant, tag limit 1 "
        "for update skip locked".encode()
    ).fetchone()
    return None if row is None else (row[0], _tag(row[2:]), row[1])


def after(uow: UnitOfWork, tenant: int, position: str, most: int) -> list[tuple[str, str, str, bytes]]:
    """Instance, series and study UID and header of the instances behind a position, in the order of their keys."""
    return uow.driver.execute(
        "select instance, series, study, metadata from instance where tenant = %s and instance > %s "
        "order by instance limit %s",
        (tenant, position, most),
    ).fetchall()


def advance(uow: UnitOfWork, tenant: int, tag: int, position: str, count: int, *, ready: bool) -> None:
    """Notes how far the job has come."""
    uow.driver.execute(
        "update extended_tag set position = %s, indexed = indexed + %s, ready = %s where tenant = %s and tag = %s",
        (position, count, ready, tenant, tag),
    )


def arrays(rows: Sequence[ValueRow]) -> tuple[list[object], ...]:
    """The rows as arrays, one for each of tag, kind, value, entity, items and number."""
    return (
        [row.tag for row in rows],
        [row.kind for row in rows],
        [row.value for row in rows],
        [row.entity for row in rows],
        ["/".join(row.items) for row in rows],
        [row.number for row in rows],
    )


#: Types of ``arrays``.
ARRAYS = "%b::bigint[], %b::text[], %b::text[], %b::text[], %b::text[], %b::numeric[]"


def add_values(uow: UnitOfWork, tenant: int, rows: Iterable[ValueRow]) -> None:
    """Enters values; those that are there already stay."""
    ordered = sorted(set(rows), key=lambda row: (row.tag, row.kind, row.value, row.entity, row.items))
    if ordered:
        uow.driver.execute(
            "insert into attribute_value (tenant, tag, kind, value, entity, items, number) "
            "select %b, tag, kind, value, entity, string_to_array(items, '/'), number "
            f"from unnest({ARRAYS}) as new(tag, kind, value, entity, items, number) on conflict do nothing",
            (tenant, *arrays(ordered)),
        )


def forget(uow: UnitOfWork, tenant: int, entities: Sequence[str]) -> None:
    """Deletes the values of patients, studies, series and instances that are gone, by their keys."""
    uow.driver.execute("delete from attribute_value where tenant = %s and entity = any(%s)", (tenant, list(entities)))
