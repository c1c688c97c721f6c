"""Loads a release of a code system: in batches that are kept when a load ends early, and at hand only as a whole.

A load that ended early is gone on with when the same file is loaded again. What the release replaces stays at hand
until the new one is whole. https://hl7.org/fhir/R4/terminology-service.html
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from server.errors import Conflict, HutongError
from server.repository import Repository
from server.security.access import Access
from server.store import concept_maps, terminology_write
from terminology import hierarchy
from terminology.code_system import Header
from terminology.load.release import Release, ReleasedMap, ReleasedSystem

#: Concepts, or elements of a map, of one transaction.
_BATCH = 10_000
_UNNAMEABLE = re.compile(r"[^A-Za-z0-9.-]+")
#: (what is loaded, how much of it is there, how much there is to be)
Progress = Callable[[str, int, int], None]


@dataclass(kw_only=True)
class Loaded:
    """What a load brought."""

    #: Code systems: url, version, concepts, and how many of them an earlier load had brought.
    systems: list[dict[str, Any]] = field(default_factory=list)
    maps: list[dict[str, Any]] = field(default_factory=list)
    #: Resources that were stored, by type.
    resources: dict[str, int] = field(default_factory=dict)
    #: Resources that were refused: what, and why.
    refused: list[dict[str, str]] = field(default_factory=list)


class Loader:
    """Loads into one tenant."""

    def __init__(self, repository: Repository, access: Access, progress: Progress = lambda *_: None) -> None:
        self._repository = repository
        self._database = repository.database
        self._access = access
        self._tenant = access.tenant
        self._progress = progress

    def load(self, release: Release, digest: str) -> Loaded:
        """Loads what a file with this digest holds."""
        self._access.require("write")
        done = Loaded()
        with self._alone():
            for system in release.systems:
                done.systems.append(self._system(system, digest))
            for one in release.maps:
                done.maps.append(self._map(one, digest))
            self._clear()
            self._analyse()
        return done

    def store(self, resources: Iterator[Mapping[str, Any]]) -> Loaded:
        """Stores a package's resources by the door that clients write through."""
        done = Loaded()
        for count, resource in enumerate(resources, 1):
            kind = str(resource["resourceType"])
            try:
                self._repository.update(self._access, dict(resource))
                done.resources[kind] = done.resources.get(kind, 0) + 1
            except HutongError as error:
                what = f"{kind}/{resource.get('id', '')}"
                done.refused.append({"resource": what, "details": error.issues[0].details})
            self._progress("package", count, 0)
        self._analyse()
        return done

    def remove(self, url: str, version: str) -> bool:
        """Takes a loaded release out; whether there was one."""
        self._access.require("write")
        header = Header(url=url, version=version)
        with self._alone():
            with self._database.unit_of_work() as uow:
                found = terminology_write.withdraw(uow, self._tenant, url, version)
                concept_maps.remove(uow, self._tenant, url, version)
            if found:
                self._repository.delete(self._access, "CodeSystem", _id(header))
            self._clear()
        return found

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One load of a tenant at a time; Conflict while another one runs."""
        key = f"terminology\x1f{self._tenant}"
        with self._database.statement() as connection:
            row = connection.execute("select pg_try_advisory_lock(hashtextextended(%s, 0))", (key,)).fetchone()
            if row is None or not row[0]:
                raise Conflict("Another load runs; wait until it has come to its end.")
            try:
                yield
            finally:
                connection.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", (key,))

    def _system(self, system: ReleasedSystem, digest: str) -> dict[str, Any]:
        header, total = system.header, len(system.concepts)
        with self._database.unit_of_work() as uow:
            known = terminology_write.begun(uow, self._tenant, header.url, header.version, digest)
            number, start = known or (
                terminology_write.enter(uow, self._tenant, header, digest=digest, apart=True), 0
            )  # fmt: skip
        self._progress(header.url, start, total)
        above = hierarchy.ancestors(system.concepts.parents())
        concepts = system.concepts.read(start)
        at = start
        while batch := list(islice(concepts, _BATCH)):
            with self._database.unit_of_work() as uow:
                terminology_write.copy(uow, self._tenant, number, enumerate(batch, at), above)
            at += len(batch)
            self._progress(header.url, at, total)
        with self._repository.transaction(self._access) as transaction:
            terminology_write.complete(transaction.uow, self._tenant, number)
            transaction.update(_shell(header, total))
        return {"url": header.url, "version": header.version, "concepts": total, "resumed_at": start}

    def _map(self, one: ReleasedMap, digest: str) -> dict[str, Any]:
        url = str(one.resource["url"])
        with self._database.unit_of_work() as uow:
            concept_maps.remove_incomplete(uow, self._tenant, url)
            number = concept_maps.enter(uow, self._tenant, one.resource, digest)
        elements, at = one.read(), 0
        while batch := list(islice(elements, _BATCH)):
            with self._database.unit_of_work() as uow:
                at = concept_maps.copy(uow, self._tenant, number, at, batch)
            self._progress(url, at, 0)
        with self._database.unit_of_work() as uow:
            concept_maps.complete(uow, self._tenant, number)
            concept_maps.remove_incomplete(uow, self._tenant, url)
        return {"url": url, "version": one.resource.get("version", ""), "targets": at}

    def _clear(self) -> None:
        """Takes out what nobody finds any more, one code system at a time."""
        with self._database.unit_of_work() as uow:
            gone: Sequence[int] = terminology_write.superseded(uow, self._tenant)
        for system in gone:
            with self._database.unit_of_work() as uow:
                terminology_write.remove(uow, self._tenant, [system])

    def _analyse(self) -> None:
        """The planner is told how many rows there are now."""
        with self._database.unit_of_work() as uow:
            terminology_write.analyse(uow)


def _id(header: Header) -> str:
    """The id of the CodeSystem resource that tells of a release."""
    text = f"{header.url}-{header.version.removeprefix(header.url)}".partition("://")[2]
    return _UNNAMEABLE.sub("-", text).strip("-")[:64]


def _shell(header: Header, total: int) -> dict[str, Any]:
    """The CodeSystem resource by which clients see that a release is here; its concepts are not in it."""
    told: dict[str, Any] = {
        "resourceType": "CodeSystem",
        "id": _id(header),
        "url": header.url,
        "version": header.version,
        "name": header.name,
        "title": header.title,
        "status": header.status,
        "caseSensitive": header.case_sensitive,
        "valueSet": header.value_set,
        "content": "not-present",
        "count": total,
        "language": header.language,
    }
    return {name: value for name, value in told.items() if value != ""}
