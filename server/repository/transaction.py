"""All verbs within one unit of work: create update delete beside those that read. https://hl7.org/fhir/R4/http.html"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from server.errors import BadRequest, Conflict, PreconditionFailed, Unprocessable
from server.fhir import instants, json_format
from server.fhir.profile import Asked, conformance, declares
from server.repository.reading import Reading
from server.repository.written import Resource, Written
from server.search import taking_apart
from server.search.declarations import RESOURCE as DECLARING
from server.search.reference import ID
from server.store import resources
from server.store.resources import Stored, Version

#: What else changes with a resource, in the same transaction: (transaction, new, version before or None).
Follower = Callable[["Transaction", Resource, Resource | None], None]
#: A resource as it is to be stored: (transaction, new, version before or None).
Prepare = Callable[["Transaction", Resource, Resource | None], Resource]


class Transaction(Reading):
    """The repository's verbs within one unit of work; writes are gathered and go out together."""

    #: By (type, id) what is going to be written in it, so that it may be referred to before.
    coming: Mapping[tuple[str, str], Resource] = MappingProxyType({})

    def create(self, resource: Resource, if_none_exist: str | None = None, id: str | None = None) -> Written:
        """See ``Repository.create``; ``id`` is for callers inside the server that chose one already."""
        self.access.require("write")
        resource_type = self._checked_type(resource)
        if if_none_exist is not None:
            found = self.matches_locked(resource_type, if_none_exist)
            if len(found) > 1:
                raise PreconditionFailed(f"Several {resource_type} resources match; If-None-Exist allows at most one.")
            if found:
                return Written(resource=json_format.parse(found[0].body), created=False, changed=False)
        return self._write(resource_type, id or instants.new_id(), resource, None)

    def update(self, resource: Resource, if_match: str | None = None) -> Written:
        """See ``Repository.update``."""
        self.access.require("write")
        resource_type = self._checked_type(resource)
        id = resource.get("id")
        if not isinstance(id, str) or not ID.fullmatch(id):
            raise BadRequest("An update needs the resource's id: 1 to 64 of A-Z a-z 0-9 - .", expression="id")
        before = self._locked(resource_type, id)
        _require_match(before, resource_type, id, if_match)
        return self._write(resource_type, id, resource, before)

    def delete(self, resource_type: str, id: str, if_match: str | None = None) -> int | None:
        """See ``Repository.delete``."""
        self.access.require("write")
        before = self._locked(resource_type, id)
        _require_match(before, resource_type, id, if_match)
        if before is None or before.deleted:
            return None
        number = before.version + 1
        taking_apart.forget(self.uow, self.access.tenant, resource_type, id)
        self._declare(resource_type, id, None)
        self._pending[resource_type, id] = Version(
            type=resource_type, id=id, version=number, last_updated=self.moment, deleted=True, body=b"", action="delete"
        )
        self.profiles.note(resource_type)
        return number

    def _locked(self, resource_type: str, id: str) -> Stored | None:
        """The current version, held until the end; where there is none the place is held instead."""
        if (resource_type, id) in self._pending:
            self.flush()
        tenant = self.access.tenant
        found = resources.current(self.uow, tenant, resource_type, id, lock=True)
        if found is None:
            self.uow.lock("resource", tenant, resource_type, id)
            found = resources.current(self.uow, tenant, resource_type, id, lock=True)
        return found

    def _checked_type(self, resource: Resource) -> str:
        resource_type = resource.get("resourceType")
        if not isinstance(resource_type, str) or not self._repository.definitions.is_resource(resource_type):
            raise BadRequest("resourceType must name a resource type of FHIR R4.", expression="resourceType")
        return resource_type

    def _write(self, resource_type: str, id: str, resource: Resource, before: Stored | None) -> Written:
        previous = json_format.parse(before.body) if before is not None and not before.deleted else None
        number = 1 if before is None else before.version + 1
        stamped = self._stamped(resource, id, number)
        if self._repository.prepare is not None:
            stamped = self._repository.prepare(self, stamped, previous)
        if previous is not None and _content(previous) == _content(stamped):
            return Written(resource=previous, created=False, changed=False)
        self._validate(stamped, previous)
        self._declare(resource_type, id, stamped)
        rows = tuple(self.search_engine.indexer.rows(stamped))
        if (resource_type, id) in self._pending:
            raise Conflict(f"{resource_type}/{id} is written twice in one transaction.")
        self._pending[resource_type, id] = Version(
            type=resource_type, id=id, version=number, last_updated=self.moment, deleted=False,
            body=json_format.write(stamped), action="create" if previous is None else "update", rows=rows,
        )  # fmt: skip
        taking_apart.take_apart(self.uow, self.access.tenant, stamped)
        self.profiles.note(resource_type, str(stamped.get("url", "")))
        for follow in self._repository.followers:
            follow(self, stamped, previous)
        return Written(resource=stamped, created=previous is None, changed=True)

    def _declare(self, resource_type: str, id: str, resource: Resource | None) -> None:
        """A SearchParameter says what is searched by from now on."""
        if resource_type == DECLARING:
            self._repository.search_engine.declarations.change(self.uow, self.access.tenant, id, resource)
            self._engine = None

    def _validate(self, resource: Resource, previous: Resource | None) -> None:
        if self._repository.validate is not None:
            issues = tuple(self._repository.validate(self._repository.definitions, resource))
            if any(issue.severity in ("error", "fatal") for issue in issues):
                raise Unprocessable("The resource breaks rules of FHIR R4.", issues=issues)
            if declares(resource, self.definitions):
                issues = conformance(resource, self.profiles.known(), Asked(stored=self._linked, follow=False))
                if any(issue.severity == "error" for issue in issues):
                    raise Unprocessable("The resource does not meet the profiles that it declares.", issues=issues)
        for check in self._repository.checks:
            check(self, resource, previous)

    def _linked(self, reference: str) -> Resource | None:
        """What a reference leads to as this transaction leaves it, asked for where a profile's invariant follows it."""
        place = self.local(reference)
        if place is None:
            return None
        if place in self._pending:
            self.flush()
        found = resources.current(self.uow, self.access.tenant, *place)
        return json_format.parse(found.body) if found and not found.deleted else self.coming.get(place)

    def _stamped(self, resource: Resource, id: str, version: int) -> Resource:
        """The resource with the id, versionId and lastUpdated that it is stored with, sharing what is below."""
        meta = resource.get("meta") or {}
        if not isinstance(meta, dict):
            raise Unprocessable("meta is an object.", expression="meta")
        stamp = {**meta, "versionId": str(version), "lastUpdated": instants.text(self.moment)}
        rest = {name: value for name, value in resource.items() if name not in ("resourceType", "id", "meta")}
        return {"resourceType": resource["resourceType"], "id": id, "meta": stamp, **rest}


def _content(resource: Resource) -> bytes:
    """What makes two versions the same: everything but the stamp, whatever the order, decimals digit for digit."""
    meta = {n: v for n, v in (resource.get("meta") or {}).items() if n not in ("versionId", "lastUpdated")}
    return json_format.write_sorted({**resource, "meta": meta})


def _require_match(before: Stored | None, resource_type: str, id: str, if_match: str | None) -> None:
    """PreconditionFailed unless the current version is one of ``if_match``, versions with commas between them."""
    if if_match is None:
        return
    current = None if before is None or before.deleted else before
    if current is None or not (if_match == "*" or str(current.version) in if_match.split(",")):
        have = f"version {current.version}" if current else "no current version"
        raise PreconditionFailed(f"If-Match asks for version {if_match}; there is {have} of {resource_type}/{id}.")
