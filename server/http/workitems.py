"""The Worklist Service, UPS-RS (PS3.18 chapter 11): the routes under ``/dicomweb``, but for the event channel."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from server.errors import BadRequest
from server.http import workitems_channel
from server.http.base_url import base_url
from server.http.dicomweb_query import MEDIA_TYPES
from server.http.dicomweb_route import DicomWebRoute, add_get, response_of
from server.http.dicomweb_services import PREFIX
from server.http.workitems_body import dataset_of, representation, warning
from server.imaging import workitem_search
from server.imaging.query_keys import path_of
from server.imaging.workitem_state import Inconsistent, NoTransaction
from server.imaging.workitem_subscriptions import WorkitemSubscriptions
from server.imaging.workitems import Workitems
from server.security.access import Access
from server.settings import Settings

_UID = re.compile(r"[0-9.]{1,64}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkitemServices:
    """The use cases behind the Worklist Service, and the callers' rights."""

    settings: Settings
    workitems: Workitems
    subscriptions: WorkitemSubscriptions
    #: The caller's rights, from the request.
    access: Callable[[Request], Access]

    def url(self, request: Request) -> str:
        """Where the client sees DICOMweb."""
        return base_url(request, self.settings) + PREFIX


def router(services: WorkitemServices) -> APIRouter:
    """All routes of the Worklist Service."""
    api = APIRouter(prefix=PREFIX, route_class=DicomWebRoute, tags=["DICOMweb"])
    edge = _Edge(services)
    add_get(api, "/workitems", edge.search, "search /workitems", gives=MEDIA_TYPES, takes=workitem_search.PARAMETERS)
    add_get(api, "/workitems/{workitem}", edge.retrieve, "retrieve workitem", gives=MEDIA_TYPES)
    for path, method, endpoint, name in (
        ("/workitems", "POST", edge.create, "create workitem"),
        ("/workitems/{workitem}", "POST", edge.update, "update workitem"),
        ("/workitems/{workitem}/state", "PUT", edge.change_state, "change workitem state"),
        ("/workitems/{workitem}/state/{requester}", "PUT", edge.change_state, "change workitem state as"),
        ("/workitems/{workitem}/cancelrequest", "POST", edge.cancel, "request cancellation"),
        ("/workitems/{workitem}/cancelrequest/{requester}", "POST", edge.cancel, "request cancellation as"),
        ("/workitems/{workitem}/subscribers/{title}", "POST", edge.subscribe, "subscribe"),
        ("/workitems/{workitem}/subscribers/{title}", "DELETE", edge.unsubscribe, "unsubscribe"),
        ("/workitems/{workitem}/subscribers/{title}/suspend", "POST", edge.suspend, "suspend subscription"),
    ):
        api.add_api_route(path, endpoint, methods=[method], name=name, response_model=None)
    workitems_channel.add_routes(api, services.subscriptions, services.access, services.url)
    return api


class _Edge:
    """The endpoints."""

    def __init__(self, services: WorkitemServices) -> None:
        self._services = services

    def search(self, request: Request) -> Response:
        """Search (PS3.18 11.9); Warning 299 names what was not done as asked."""
        services = self._services
        access = services.access(request)
        parameters = [(name, value) for name, value in request.query_params.multi_items() if name != "accept"]
        query = workitem_search.parse(parameters)
        found = workitem_search.search(services.workitems.repository.database, access, query)
        return warning(representation(request, found.results, many=True), *found.warnings)

    def retrieve(self, request: Request) -> Response:
        """Retrieve (PS3.18 11.5)."""
        services, uid = self._services, request.path_params["workitem"]
        found = services.workitems.retrieve(services.access(request), uid)
        response = representation(request, [found], many=False)
        response.headers["Content-Location"] = f"{services.url(request)}/workitems/{uid}"
        return response

    async def create(self, request: Request) -> Response:
        """Create (PS3.18 11.4): 201 with Location; the UID from the query, the data set, or made here."""
        services = self._services
        dataset = await dataset_of(request)
        asked = _one_of(request, ("workitem", "AffectedSOPInstanceUID"))

        def run() -> Response:
            uid, added = services.workitems.create(services.access(request), dataset, asked)
            location = f"{services.url(request)}/workitems/{uid}"
            response = Response(None, 201, {"Location": location, "Content-Location": location})
            return warning(response, *(["The Workitem was created with modifications."] if added else []))

        return await run_in_threadpool(_refusing, run)

    async def update(self, request: Request) -> Response:
        """Update (PS3.18 11.6); the Transaction UID in the query or in the data set."""
        services, uid = self._services, request.path_params["workitem"]
        dataset = await dataset_of(request)
        transaction = _one_of(request, ("transaction-uid", "transaction", "TransactionUID"))

        def run() -> Response:
            services.workitems.update(services.access(request), uid, dataset, transaction)
            return Response(None, 200, {"Content-Location": f"{services.url(request)}/workitems/{uid}"})

        return await run_in_threadpool(_refusing, run)

    async def change_state(self, request: Request) -> Response:
        """Change state (PS3.18 11.7): claim, complete, cancel."""
        services, uid = self._services, request.path_params["workitem"]
        requester = request.path_params.get("requester", "")
        dataset = await dataset_of(request)

        def run() -> Response:
            said = services.workitems.change_state(services.access(request), uid, dataset, requester)
            location = f"{services.url(request)}/workitems/{uid}"
            return warning(Response(None, 200, {"Content-Location": location}), *([said] if said else []))

        return await run_in_threadpool(_refusing, run)

    async def cancel(self, request: Request) -> Response:
        """Request cancellation (PS3.18 11.8): 202, or 409 where it can't be."""
        services, uid = self._services, request.path_params["workitem"]
        requester = request.path_params.get("requester", "")
        dataset = await dataset_of(request, optional=True)

        def run() -> Response:
            said = services.workitems.request_cancel(services.access(request), uid, dataset, requester)
            return warning(Response(None, 202), *([said] if said else []))

        return await run_in_threadpool(_refusing, run)

    def subscribe(self, request: Request) -> Response:
        """Subscribe (PS3.18 11.10): Content-Location is where the event channel is."""
        services, title = self._services, request.path_params["title"]
        lock, keys, ignored = _subscription(request)
        services.subscriptions.subscribe(
            services.access(request), request.path_params["workitem"], title, deletion_lock=lock, keys=keys
        )
        socket = re.sub("^http", "ws", services.url(request))
        response = Response(None, 201, {"Content-Location": f"{socket}/subscribers/{title}"})
        return warning(response, *(f"'{name}' is no attribute and was ignored." for name in ignored))

    def unsubscribe(self, request: Request) -> Response:
        """Unsubscribe (PS3.18 11.11)."""
        self._services.subscriptions.unsubscribe(
            self._services.access(request), request.path_params["workitem"], request.path_params["title"]
        )
        return Response(None, 200)

    def suspend(self, request: Request) -> Response:
        """Suspend a global subscription (PS3.18 11.12)."""
        self._services.subscriptions.suspend(
            self._services.access(request), request.path_params["workitem"], request.path_params["title"]
        )
        return Response(None, 200)


def _refusing(run: Callable[[], Response]) -> Response:
    """The answer; a refusal by the state table carries the Warning header that PS3.18 has for it."""
    try:
        return run()
    except (Inconsistent, NoTransaction) as error:
        return warning(response_of(error), error.warning)


def _one_of(request: Request, names: tuple[str, ...]) -> str:
    """A UID in the query: bare, as ``/workitems?1.2.3``, or as one of the names."""
    parameters = request.query_params.multi_items()
    for name, value in parameters:
        if name in names:
            return value
        if not value and _UID.fullmatch(name):
            return name
    return ""


def _subscription(request: Request) -> tuple[bool, list[tuple[str, str]], list[str]]:
    """Whether a deletion lock is asked for, the keys of a filter, and parameters that are neither.

    ``filter=Keyword=value,Keyword=value`` is a list of keys, any other parameter a key of its own.
    """
    lock, keys, ignored = False, list[tuple[str, str]](), list[str]()
    for name, value in request.query_params.multi_items():
        if name.lower() == "deletionlock":
            if value.lower() not in ("true", "false"):
                raise BadRequest("deletionlock must be true or false.", expression="deletionlock")
            lock = value.lower() == "true"
        elif name == "filter":
            keys += [(part.partition("=")[0].strip(), part.partition("=")[2]) for part in value.split(",") if part]
        else:
            keys.append((name, value))
    for name, _ in keys:
        if path_of(name) is None:
            ignored.append(re.sub(r"[^\x20-\x7e]", "?", name)[:64])
    return lock, [(name, value) for name, value in keys if path_of(name) is not None], ignored
