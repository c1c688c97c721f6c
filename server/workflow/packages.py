"""FHIR packages brought in, listed and removed: all of one or nothing. https://hl7.org/fhir/packages.html"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from server.errors import Issue, NotFound, Unprocessable
from server.fhir import instants, package
from server.fhir.definitions import Definitions
from server.repository import Repository, Resource, Transaction
from server.security.access import Access
from server.store import installed_packages, resources
from server.store.installed_packages import Installed

#: Resources that go to the database together.
_TOGETHER = 200
_NOT_IN_ID = re.compile(r"[^A-Za-z0-9.-]+")


@dataclass(kw_only=True, slots=True)
class Outcome:
    """What an installation came to."""

    name: str
    version: str
    stored: int = 0
    #: How many were there already, the same.
    unchanged: int = 0
    #: How many say what the server's own tables say: types and search parameters of the standard.
    built_in: int = 0
    #: Type and URL -> what the standard finds wrong with it.
    refused: dict[str, str] = field(default_factory=dict)
    #: name#version of packages that it builds on and that are not here.
    missing: list[str] = field(default_factory=list)


def install(
    repository: Repository, access: Access, archive: Path, told: Callable[[int], None] = lambda _: None
) -> Outcome:
    """Stores the definitions of a package in one transaction; ``told`` hears how many were looked at."""
    manifest = package.manifest(archive)
    if not manifest.is_for(repository.definitions.version):
        editions = ", ".join(manifest.editions)
        raise Unprocessable(
            f"{manifest.name}#{manifest.version} is for FHIR {editions}; this server speaks "
            f"{repository.definitions.version}. Many packages have a twin whose name ends in .r4.",
            expression="fhirVersions",
        )
    outcome = Outcome(name=manifest.name, version=manifest.version)
    with repository.transaction(access) as transaction:
        work = _Installation(repository, transaction, outcome)
        for count, resource in enumerate(_definitions(archive, repository.definitions, outcome), 1):
            work.take(resource)
            if count % _TOGETHER == 0:
                transaction.flush()
            told(count)
        transaction.flush()
        uow, tenant = transaction.uow, access.tenant
        installed_packages.record(uow, tenant, manifest.name, manifest.version, manifest.dependencies, work.places)
        outcome.missing = missing(manifest.dependencies, installed_packages.listed(uow, tenant))
    return outcome


def listed(repository: Repository, access: Access) -> tuple[Installed, ...]:
    """The packages that are installed."""
    access.require("read")
    with repository.reading(access) as transaction:
        return installed_packages.listed(transaction.uow, access.tenant)


def remove(repository: Repository, access: Access, name: str, version: str = "") -> tuple[str, int]:
    """Deletes what a package brought, unless another one brought it too; its version and how many that were."""
    with repository.transaction(access) as transaction:
        found = [each for each in installed_packages.listed(transaction.uow, access.tenant) if each.name == name]
        chosen = [each.version for each in found if version in ("", each.version)]
        if len(chosen) != 1:
            have = ", ".join(each.version for each in found) or "none"
            wanted = f"{name}@{version}" if version else name
            raise NotFound(f"There is no one package {wanted} to remove; versions installed: {have}.", expression=name)
        places = installed_packages.own(transaction.uow, access.tenant, name, chosen[0])
        gone = sum(transaction.delete(kind, id) is not None for kind, id in places)
        installed_packages.forget(transaction.uow, access.tenant, name, chosen[0])
    return chosen[0], gone


def missing(dependencies: dict[str, str], installed: tuple[Installed, ...]) -> list[str]:
    """The dependencies that are not installed, of whatever version."""
    have = {each.name for each in installed} | {package.CORE}
    return sorted(f"{name}#{version}" for name, version in dependencies.items() if name not in have)


def _definitions(archive: Path, definitions: Definitions, outcome: Outcome) -> Iterator[Resource]:
    """The canonical resources of a package that say more than the server knows."""
    for resource in package.resources(archive):
        kind, url = resource["resourceType"], resource.get("url")
        if not definitions.is_resource(kind) or not isinstance(url, str):
            continue
        if "status" not in (definitions.elements(kind) or {}):
            continue
        if _is_built_in(resource, url, definitions):
            outcome.built_in += 1
        else:
            yield resource


def _is_built_in(resource: Resource, url: str, definitions: Definitions) -> bool:
    if url in definitions.search_parameter_types or url in definitions.operations:
        return True
    name = url.removeprefix("http://hl7.org/fhir/StructureDefinition/")
    return name in definitions.types and resource.get("derivation") != "constraint"


class _Installation:
    """One package on its way in."""

    def __init__(self, repository: Repository, transaction: Transaction, outcome: Outcome) -> None:
        self._engine = repository.search_engine
        self._transaction = transaction
        self._outcome = outcome
        #: (type, id) of all that the package brought.
        self.places: set[tuple[str, str]] = set()

    def take(self, resource: Resource) -> None:
        """Stores one definition, in place of the one with the same canonical and version."""
        kind, url = str(resource["resourceType"]), str(resource["url"])
        id, is_new = self._place(resource, url)
        sent = {**resource, "id": id}
        try:
            written = self._transaction.create(sent, id=id) if is_new else self._transaction.update(sent)
        except Unprocessable as error:
            self._outcome.refused[f"{kind} {url}"] = "; ".join(_said(issue) for issue in error.issues[:3])
            return
        self.places.add((kind, id))
        if written.changed:
            self._outcome.stored += 1
        else:
            self._outcome.unchanged += 1

    def _place(self, resource: Resource, url: str) -> tuple[str, bool]:
        """The id to store under, and whether nothing ever had it: its own, with the version, or a new one."""
        kind, version = str(resource["resourceType"]), str(resource.get("version", ""))
        uow, tenant = self._transaction.uow, self._transaction.access.tenant
        before = self._engine.at_hand(uow, tenant).resource(kind, url, version)
        if before is not None and str(before.get("version", "")) == version:
            return str(before["id"]), False
        own = _NOT_IN_ID.sub("-", str(resource.get("id", "")))[:64]
        for id in (own, f"{own}-{_NOT_IN_ID.sub('-', version)}"[:64]):
            if id and (kind, id) not in self.places:
                there = resources.current(uow, tenant, kind, id)
                if there is None or there.deleted:
                    return id, there is None
        return instants.new_id(), True


def _said(issue: Issue) -> str:
    return f"{issue.expression}: {issue.details}" if issue.expression else str(issue.details)
