"""FHIR R4 over HTTP: https://hl7.org/fhir/R4/http.html. Bytes in, ``server.interactions``, bytes out."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from server import __version__
from server.errors import BadRequest, Unauthenticated
from server.events.websocket import Websockets
from server.fhir import json_format
from server.fhir.definitions import Definitions
from server.fhir.instants import text as instant
from server.http import fhir_bulk, subscriptions_channel
from server.http import fhir_graphql as graphql
from server.http import fhir_operations as operations
from server.http.fhir_errors import FhirRoute, failed
from server.http.fhir_format import MEDIA_TYPES, wanted, written
from server.http.fhir_openapi import openapi
from server.http.fhir_request import body_of, fhir_request
from server.interactions.batch import METADATA, batch, perform
from server.interactions.capabilities import capabilities
from server.interactions.request import Answer
from server.interactions.request import Request as FhirRequest
from server.interactions.terminology_capabilities import terminology_capabilities
from server.interactions.transaction import transaction
from server.operations import expand
from server.operations.bulk import BulkRequests
from server.operations.operation import Operation
from server.repository import Repository
from server.security.access import Access, system

_BULK_DATA = "http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data"
#: https://hl7.org/fhir/R4/http.html#capabilities
_MODES = ("full", "normative", "terminology")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
Body = Annotated[bytes, Depends(body_of)]


@dataclass(frozen=True, kw_only=True)
class FhirServices:
    """What the FHIR routes need."""

    repository: Repository
    #: Who calls; raises Unauthenticated.
    access: Callable[[Request], Access]
    #: The server's address as clients see it, without /fhir; empty to take it from each request.
    base_url: str = ""
    operations: tuple[Operation, ...] = ()
    #: Canonicals of the topics that can be subscribed to.
    topics: tuple[str, ...] = ()
    #: Requests whose work goes on; None where no operation makes any.
    requests: BulkRequests | None = None
    #: What websockets are told; None for no such channel.
    websockets: Websockets | None = None


class FhirRouter(APIRouter):
    """Routes, the most used of which can be answered past them."""

    #: Answers a path below the base, of the shape type or type/id, or a Bundle where there is none.
    answer: Callable[[Request, tuple[str, ...], bytes], Response]


def router(services: FhirServices, prefix: str = "/fhir") -> FhirRouter:
    """All routes of the RESTful API below ``prefix``."""
    routes = FhirRouter(prefix=prefix, route_class=FhirRoute, tags=["FHIR R4"])
    edge = _Edge(services, prefix)
    routes.answer = edge.direct
    if services.websockets is not None:
        subscriptions_channel.add_routes(routes, services.websockets, edge.base)
    _add_system_routes(routes, edge)
    if services.requests is not None:
        fhir_bulk.add(routes, services.requests, services.access, edge.base)
    _add_type_routes(routes, edge)
    _add_instance_routes(routes, edge)
    _add_all_other(routes, edge)
    return routes


class _Edge:
    """From an HTTP request to an interaction or operation and back."""

    def __init__(self, services: FhirServices, prefix: str) -> None:
        self._services = services
        self._prefix = prefix
        self._started = instant(datetime.now(UTC))
        # A client may choose the address by its Host header: few are kept.
        self._statement = lru_cache(maxsize=8)(self._capabilities)
        self._described = lru_cache(maxsize=2)(self._openapi)

    def metadata(self, request: Request) -> Response:
        """The CapabilityStatement, or the TerminologyCapabilities."""
        form, mode = wanted(request), request.query_params.get("mode", "full")
        told = self._told(self._caller(request), self.base(request), mode)
        return Response(written(told, form), media_type=MEDIA_TYPES[form])

    def openapi(self, request: Request) -> Response:
        """The same as OpenAPI."""
        return Response(self._described(self._definitions(self._caller(request))), media_type="application/json")

    def bundle(self, request: Request, body: bytes) -> Response:
        """Carries out a batch or transaction."""
        access = self._services.access(request)
        asked, form = self._asked(request, (), body)
        kind = (asked.resource or {}).get("type")
        if (asked.resource or {}).get("resourceType") != "Bundle" or kind not in ("batch", "transaction"):
            raise BadRequest("Send a Bundle of type batch or transaction.", expression="Bundle.type")
        repository = self._services.repository
        if kind == "batch":
            return _response(asked, batch(repository, access, asked, self._operate), form)
        return _response(asked, transaction(repository, access, asked), form)

    def direct(self, request: Request, path: tuple[str, ...], body: bytes) -> Response:
        """The answer, a refusal's too."""
        try:
            return self.answer(request, path, body) if path else self.bundle(request, body)
        except Exception as error:  # noqa: BLE001 an edge: what nobody foresaw is a 500 that says nothing of the data
            return failed(request, error, "/".join(path[:1]))

    def answer(self, request: Request, path: tuple[str, ...], body: bytes) -> Response:
        """Carries out what the path below the base asks for."""
        access = self._services.access(request)
        if path and path[-1] == graphql.NAME:
            return self._graphql(request, path, body, access)
        asked, form = self._asked(request, path, body)
        if path and path[-1].startswith("$"):
            return _response(asked, self._operate(asked, access), form)
        return _response(asked, perform(self._services.repository, access, asked), form)

    def _graphql(self, request: Request, path: tuple[str, ...], body: bytes, access: Access) -> Response:
        if request.method == "POST" and graphql.speaks(request):
            asked = graphql.asked(request, path, body, self.base(request))
        else:
            base, definitions = self.base(request), self._services.repository.definitions
            asked = fhir_request(definitions, request, path, body, base)
        return graphql.answer(self._services.operations, asked, access)

    def _operate(self, asked: FhirRequest, access: Access) -> Answer:
        if asked.path == METADATA:
            mode = dict(asked.parameters).get("mode", "full")
            return Answer(status=200, body=self._told(access, asked.base_url, mode))
        return operations.answer(self._services.operations, asked, access)

    def _asked(self, request: Request, path: tuple[str, ...], body: bytes) -> tuple[FhirRequest, str]:
        """What is asked for, and the format of the answer."""
        asked = fhir_request(self._services.repository.definitions, request, path, body, self.base(request))
        return asked, wanted(request, dict(asked.parameters).get("_format", ""))

    def base(self, request: Request) -> str:
        """The FHIR base URL as the client sees it."""
        return (self._services.base_url or str(request.base_url)).rstrip("/") + self._prefix

    def _caller(self, request: Request) -> Access:
        """Of whose tenant is told; who does not say who calls is told of the first one."""
        try:
            return self._services.access(request)
        except Unauthenticated:
            return system()

    def _definitions(self, access: Access) -> Definitions:
        """What is searched by in the caller's tenant."""
        with self._services.repository.reading(access) as transaction:
            return transaction.search_engine.definitions

    def _told(self, access: Access, base_url: str, mode: str) -> bytes:
        """What the server can do; mode is full, normative (which is told as full), or terminology."""
        if mode not in _MODES:
            raise BadRequest(f"mode is one of {', '.join(_MODES)}.", expression="mode")
        if mode != "terminology":
            return self._statement(base_url, self._definitions(access))
        with self._services.repository.reading(system(access.tenant)) as transaction:
            made = terminology_capabilities(
                transaction.terminology.headers(), base_url=base_url, version=__version__, date=self._started,
                parameters=expand.served(transaction.definitions),
            )  # fmt: skip
        return json_format.write(made)

    def _openapi(self, definitions: Definitions) -> bytes:
        # Without a configured address it is relative: the document takes a second to make, and a client chooses Host.
        base_url, served = f"{self._services.base_url.rstrip('/')}{self._prefix}", self._services.operations
        return json_format.write(openapi(definitions, base_url=base_url, version=__version__, operations=served))

    def _capabilities(self, base_url: str, definitions: Definitions) -> bytes:
        served = operations.listed(self._services.operations, definitions.resource_types)
        statement = capabilities(
            definitions, base_url=base_url, version=__version__, date=self._started, operations=served,
            topics=self._services.topics, guides=(_BULK_DATA,) if self._services.requests else (),
        )  # fmt: skip
        return json_format.write(statement)


def _add_system_routes(routes: APIRouter, edge: _Edge) -> None:
    @routes.get("/metadata", summary="capabilities")
    def metadata(request: Request) -> Response:
        return edge.metadata(request)

    @routes.get("/openapi.json", summary="the RESTful API as OpenAPI, every resource type with its parameters")
    def openapi(request: Request) -> Response:
        return edge.openapi(request)

    @routes.get("/_history", summary="history of the system")
    def history(request: Request, body: Body) -> Response:
        return edge.answer(request, ("_history",), body)

    @routes.get("", summary="search over several types")
    @routes.get("/", include_in_schema=False)
    def search(request: Request, body: Body) -> Response:
        return edge.answer(request, (), body)

    @routes.post("/_search", summary="search over several types by POST")
    def search_by_post(request: Request, body: Body) -> Response:
        return edge.answer(request, ("_search",), body)

    @routes.post("", summary="batch or transaction")
    @routes.post("/", include_in_schema=False)
    def bundle(request: Request, body: Body) -> Response:
        return edge.bundle(request, body)


def _add_type_routes(routes: APIRouter, edge: _Edge) -> None:
    @routes.head("/{type}", include_in_schema=False)
    @routes.get("/{type}", summary="search", operation_id="search")
    @routes.post("/{type}", summary="create", operation_id="create")
    @routes.put("/{type}", summary="conditional update", operation_id="conditional-update")
    @routes.patch("/{type}", summary="conditional patch", operation_id="conditional-patch")
    @routes.delete("/{type}", summary="conditional delete", operation_id="conditional-delete")
    def on_type(request: Request, type: str, body: Body) -> Response:
        return edge.answer(request, (type,), body)

    @routes.get("/{type}/_history", summary="history of a type")
    def history_of_type(request: Request, type: str, body: Body) -> Response:
        return edge.answer(request, (type, "_history"), body)

    @routes.post("/{type}/_search", summary="search by POST")
    def search(request: Request, type: str, body: Body) -> Response:
        return edge.answer(request, (type, "_search"), body)


def _add_instance_routes(routes: APIRouter, edge: _Edge) -> None:
    @routes.head("/{type}/{id}", include_in_schema=False)
    @routes.get("/{type}/{id}", summary="read", operation_id="read")
    @routes.put("/{type}/{id}", summary="update", operation_id="update")
    @routes.patch("/{type}/{id}", summary="patch", operation_id="patch")
    @routes.delete("/{type}/{id}", summary="delete", operation_id="delete")
    def on_instance(request: Request, type: str, id: str, body: Body) -> Response:
        return edge.answer(request, (type, id), body)

    @routes.get("/{type}/{id}/_history", summary="history")
    def history(request: Request, type: str, id: str, body: Body) -> Response:
        return edge.answer(request, (type, id, "_history"), body)

    @routes.get("/{compartment}/{id}/{type}", summary="search in a compartment")
    def compartment(request: Request, compartment: str, id: str, type: str, body: Body) -> Response:
        return edge.answer(request, (compartment, id, type), body)

    @routes.get("/{type}/{id}/_history/{version}", summary="vread")
    def vread(request: Request, type: str, id: str, version: str, body: Body) -> Response:
        return edge.answer(request, (type, id, "_history", version), body)


def _add_all_other(routes: APIRouter, edge: _Edge) -> None:
    """$operations, and whatever has no interaction's shape: that refusal comes from the same place as all others."""

    @routes.api_route("/{rest:path}", methods=[*_METHODS], include_in_schema=False)
    def other(request: Request, rest: str, body: Body) -> Response:
        return edge.answer(request, tuple(step for step in rest.split("/") if step) or ("",), body)


def _response(request: FhirRequest, answer: Answer, form: str) -> Response:
    headers = {}
    if answer.version:
        headers["ETag"] = f'W/"{answer.version}"'
    if answer.last_modified:
        headers["Last-Modified"] = format_datetime(answer.last_modified.astimezone(UTC), usegmt=True)
    if answer.location and request.method in ("POST", "PUT", "PATCH"):
        headers["Location"] = f"{request.base_url}/{answer.location}"
    if answer.content_location:
        headers["Content-Location"] = answer.content_location
    media_type = MEDIA_TYPES[form] if answer.body else None
    return Response(written(answer.body, form), answer.status, headers=headers, media_type=media_type)
