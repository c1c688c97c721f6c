"""Extended query tags: list, declare, withdraw. Ours: PS3.18 knows no such resource, though other servers have it."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from server.errors import NotFound
from server.http.dicomweb_services import DicomWeb
from server.imaging import extended_tags
from server.imaging.query_keys import path_of
from server.store.extended_tags import ExtendedTag


class Declaration(BaseModel):
    """One attribute to be searched by."""

    model_config = ConfigDict(populate_by_name=True)

    #: Keyword or tag, or several joined by dots.
    path: str
    #: Needed where the data dictionary has none.
    vr: str = ""
    #: study, series or instance.
    level: str = "instance"
    creator: str = Field(default="", alias="privateCreator")


def add_routes(api: APIRouter, services: DicomWeb) -> None:
    """All declarations, and each."""

    @api.get("/extendedquerytags")
    def search(request: Request) -> Response:
        """Every declaration with how far its index is."""
        return JSONResponse([_shown(tag) for tag in extended_tags.listed(services.database, services.access(request))])

    @api.post("/extendedquerytags", status_code=202)
    def declare(request: Request, body: Declaration) -> Response:
        """Declares an attribute; its index is made behind."""
        access = services.access(request)
        extended_tags.declare(
            services.database, access, body.path, vr=body.vr, level=body.level.lower(), creator=body.creator
        )
        return JSONResponse(_shown(_find(services, request, body.path)), 202)

    @api.get("/extendedquerytags/{path}")
    def read(request: Request, path: str) -> Response:
        """One declaration."""
        return JSONResponse(_shown(_find(services, request, path)))

    @api.delete("/extendedquerytags/{path}", status_code=204)
    def withdraw(request: Request, path: str) -> Response:
        """Takes a declaration back."""
        extended_tags.withdraw(services.database, services.access(request), path)
        return Response(status_code=204)


def _find(services: DicomWeb, request: Request, path: str) -> ExtendedTag:
    wanted = ".".join(path_of(path) or ())
    for tag in extended_tags.listed(services.database, services.access(request)):
        if tag.path == wanted:
            return tag
    raise NotFound("No such extended query tag is declared.", expression="path")


def _shown(tag: ExtendedTag) -> dict[str, Any]:
    return {
        "path": tag.path,
        "vr": tag.vr,
        "privateCreator": tag.creator,
        "level": tag.level,
        "status": "ready" if tag.ready else "indexing",
        "indexed": tag.indexed,
    }
