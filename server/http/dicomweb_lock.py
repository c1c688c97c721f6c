"""Study locks: GET, PUT and DELETE of a study's lock; ours, since PS3.18 knows none."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from server.errors import NotFound
from server.http.dicomweb_services import DicomWeb
from server.imaging.lock import StudyLocks
from server.store.locks import StudyLock


class LockBody(BaseModel):
    """What a client sends."""

    reason: str


def add_routes(api: APIRouter, services: DicomWeb) -> None:
    """The lock of a study, and the list of all."""
    locks = StudyLocks(services.database)

    @api.get("/locks")
    def search(request: Request) -> Response:
        """Every lock."""
        return JSONResponse([_shown(lock) for lock in locks.find(services.access(request))])

    @api.get("/studies/{study}/lock")
    def read(request: Request, study: str) -> Response:
        """Who locked the study, when and why."""
        found = locks.find(services.access(request), study)
        if not found:
            raise NotFound("The study is not locked.")
        return JSONResponse(_shown(found[0]))

    @api.put("/studies/{study}/lock", status_code=204)
    def lock(request: Request, study: str, body: LockBody) -> Response:
        """Locks the study."""
        locks.lock(services.access(request), study, body.reason)
        return Response(status_code=204)

    @api.delete("/studies/{study}/lock", status_code=204)
    def unlock(request: Request, study: str) -> Response:
        """Takes the lock off."""
        locks.unlock(services.access(request), study)
        return Response(status_code=204)


def _shown(lock: StudyLock) -> dict[str, Any]:
    return {"study": lock.study, "who": lock.who, "reason": lock.reason, "at": lock.at.isoformat()}
