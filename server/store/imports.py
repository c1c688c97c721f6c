"""Named queries over the files that an import has looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

from server.store.database import UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenFile:
    """A file and what became of it."""

    #: As the file system has it.
    path: bytes
    size: int
    #: Nanoseconds since 1970.
    modified: int
    outcome: str
    instance: str = ""
    details: str = ""


def note(uow: UnitOfWork, tenant: int, files: Sequence[SeenFile]) -> None:
    """Remembers files; what was known of a path before is replaced."""
    columns = ("path", "size", "modified", "outcome", "instance", "details")
    uow.driver.execute(
        "insert into import_file (tenant, path, size, modified, outcome, instance, details) "
        "select %s, u.* from unnest(%s::bytea[], %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[]) as u "
        "on conflict (tenant, path) do update set size = excluded.size, modified = excluded.modified, "
        "outcome = excluded.outcome, instance = excluded.instance, details = excluded.details, at = excluded.at",
        (tenant, *([getattr(file, name) for file in files] for name in columns)),
    )


def settled(uow: UnitOfWork, tenant: int, files: Sequence[tuple[bytes, int, int]]) -> frozenset[bytes]:
    """Paths of those files (path, size, modified) that need no second look: no instance, or a stored one."""
    rows = uow.driver.execute(
        "select f.path from unnest(%s::bytea[], %s::bigint[], %s::bigint[]) as u(path, size, modified) "
        "join import_file f on f.tenant = %s and f.path = u.path and f.size = u.size and f.modified = u.modified "
        "where f.outcome in ('other', 'directory') or (f.outcome in ('stored', 'already') and ("
        "exists (select from instance i where i.tenant = f.tenant and i.instance = f.instance) or "
        "exists (select from hidden_instance i where i.tenant = f.tenant and i.instance = f.instance)))",
        ([file[0] for file in files], [file[1] for file in files], [file[2] for file in files], tenant),
    )
    return frozenset(bytes(row[0]) for row in rows)
