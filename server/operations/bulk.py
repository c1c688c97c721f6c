"""Requests whose work goes on after the answer: their state, files, end. https://hl7.org/fhir/R4/async.html

Kick-off by ``$export`` and ``$import``; the work is a job. A request is seen by who made it, and by admins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from server.errors import BadRequest, NotFound
from server.fhir import instants, json_format
from server.operations.definition import Call
from server.operations.operation import Accepted
from server.security.access import Access
from server.store import audit, bulk
from server.store.bulk import BulkFile, BulkRequest
from server.store.bulk_files import BulkFiles
from server.store.database import Database

#: Step of the URL below the base behind which requests are.
PATH = "_async"
QUEUE = "bulk"


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """A request with the files that are finished."""

    request: BulkRequest
    files: Sequence[BulkFile]


class BulkRequests:
    """All requests of all tenants."""

    def __init__(self, database: Database, files: BulkFiles, hours: float) -> None:
        """``hours``: how long the files of a request that ended are kept."""
        self.database = database
        self.files = files
        self.hours = hours

    def accept(self, call: Call, task: str, kind: str, asked: dict[str, Any]) -> Accepted:
        """Notes a request and defers its job, in one transaction."""
        if not call.respond_async:
            raise BadRequest("This takes its time: send the header 'Prefer: respond-async'.", expression="Prefer")
        access, name = call.access, instants.new_id()
        body = json_format.write({**asked, "scopes": sorted(access.scopes), "purpose": access.purpose})
        with self.database.unit_of_work() as uow:
            bulk.add(uow, access.tenant, name, kind=kind, who=access.who, asked=body)
            audit.note(uow, access.tenant, access.who, kind, call.resource_type or "Bundle", call.id or name)
            uow.defer(task, queue=QUEUE, tenant=access.tenant, request=name)
        location = f"{call.base_url}/{PATH}/{name}"
        return Accepted(location=location, details=f"Accepted; {location} says how far it is.")

    def state(self, access: Access, name: str) -> State:
        """How far a request is; NotFound where there is none, or not any more."""
        with self.database.reading() as uow:
            found = bulk.get(uow, access.tenant, name)
            return State(request=_seen(found, access), files=bulk.files(uow, access.tenant, name))

    def cancel(self, access: Access, name: str) -> None:
        """Ends a request and removes its files."""
        with self.database.unit_of_work() as uow:
            _seen(bulk.get(uow, access.tenant, name, lock=True), access)
            bulk.remove(uow, access.tenant, name)
            audit.note(uow, access.tenant, access.who, "cancel", "Bundle", name)
        self.files.remove(access.tenant, name)

    def file(self, access: Access, name: str, file: str) -> Path:
        """Where one finished file is; that it was asked for is noted."""
        with self.database.unit_of_work() as uow:
            _seen(bulk.get(uow, access.tenant, name), access)
            known = [one for one in bulk.files(uow, access.tenant, name) if one.name == file and one.kind != "input"]
            if not known:
                raise NotFound(f"There is no file {file[:64]} of this request.")
            audit.note_read(uow, access.tenant, access.who, "read", known[0].type, name)
        return self.files.path(access.tenant, name, known[0].name)

    def forget(self) -> int:
        """Removes requests whose time is over; how many."""
        with self.database.unit_of_work() as uow:
            due = bulk.expired(uow)
            for tenant, name in due:
                bulk.remove(uow, tenant, name)
        for tenant, name in due:
            self.files.remove(tenant, name)
        return len(due)


def manifest(state: State, url: str) -> dict[str, Any]:
    """What a finished request came to; ``url`` is the request's own, below which its files are."""
    asked = json_format.parse(state.request.asked)

    def listed(kind: str) -> list[dict[str, Any]]:
        found = [one for one in state.files if one.kind == kind]
        return [
            {"type": one.type, "url": f"{url}/{one.name}"}
            # Of deletions it is that of the resources, not of the lines.
            | ({"count": one.count} if kind != "deleted" else {})
            | ({"inputUrl": one.source} if one.source else {})
            for one in found
        ]

    whole = {
        "transactionTime": instants.text(_moment(state.request)),
        "request": asked["url"],
        # By the same credentials as the request itself.
        "requiresAccessToken": True,
        "output": listed("output"),
        "error": listed("error"),
    }
    return {**whole, "deleted": listed("deleted")} if state.request.kind == "export" else whole


def access_of(request: BulkRequest, tenant: int) -> Access:
    """Who asked, with the rights that they had then."""
    asked = json_format.parse(request.asked)
    return Access(who=request.who, tenant=tenant, scopes=frozenset(asked["scopes"]), purpose=asked["purpose"])


def _moment(request: BulkRequest) -> datetime:
    return request.moment or request.requested


def _seen(found: BulkRequest | None, access: Access) -> BulkRequest:
    if found is None or (found.who != access.who and "admin" not in access.scopes):
        raise NotFound("There is no such request: it was cancelled, or its time is over.")
    return found
