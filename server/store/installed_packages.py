"""Named queries over FHIR packages that are installed, and what each brought."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from server.store.database import UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class Installed:
    """One package."""

    name: str
    version: str
    installed: datetime
    dependencies: Mapping[str, str]
    #: How many resources of it are stored.
    resources: int


def listed(uow: UnitOfWork, tenant: int) -> tuple[Installed, ...]:
    """All packages, by name and version."""
    rows = uow.driver.execute(
        "select p.name, p.version, p.installed, p.dependencies, count(r.id) from package p "
        "left join package_resource r on r.tenant = p.tenant and r.name = p.name and r.version = p.version "
        "where p.tenant = %s group by p.tenant, p.name, p.version order by p.name, p.version",
        (tenant,),
    )
    return tuple(
        Installed(name=row[0], version=row[1], installed=row[2], dependencies=row[3], resources=row[4]) for row in rows
    )


def record(
    uow: UnitOfWork, tenant: int, name: str, version: str, dependencies: Mapping[str, str],
    resources: Iterable[tuple[str, str]],
) -> None:  # fmt: skip
    """Notes a package with the (type, id) of what it brought, in place of what was noted of it before."""
    uow.lock("package", tenant, name, version)
    forget(uow, tenant, name, version)
    uow.driver.execute(
        "insert into package (tenant, name, version, dependencies) values (%s, %s, %s, %s)",
        (tenant, name, version, json.dumps(dict(dependencies))),
    )
    pairs = sorted(set(resources))
    uow.driver.execute(
        "insert into package_resource (tenant, name, version, type, id) "
        "select %s, %s, %s, * from unnest(%s::text[], %s::text[])",
        (tenant, name, version, [pair[0] for pair in pairs], [pair[1] for pair in pairs]),
    )


def own(uow: UnitOfWork, tenant: int, name: str, version: str) -> tuple[tuple[str, str], ...]:
    """The (type, id) of what a package brought and no other one did too."""
    rows = uow.driver.execute(
        "select type, id from package_resource r where tenant = %(tenant)s and name = %(name)s "
        "and version = %(version)s and not exists (select from package_resource o where o.tenant = r.tenant "
        "and o.type = r.type and o.id = r.id and (o.name, o.version) <> (r.name, r.version)) order by type, id",
        {"tenant": tenant, "name": name, "version": version},
    )
    return tuple((row[0], row[1]) for row in rows)


def forget(uow: UnitOfWork, tenant: int, name: str, version: str) -> bool:
    """Takes a package off the list; whether it was there."""
    place = (tenant, name, version)
    uow.driver.execute("delete from package_resource where tenant = %s and name = %s and version = %s", place)
    found = uow.driver.execute("delete from package where tenant = %s and name = %s and version = %s", place)
    return found.rowcount > 0
