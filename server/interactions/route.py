"""Chooses the interaction that a request asks for: https://hl7.org/fhir/R4/http.html#summary"""

from collections.abc import Callable

from server.errors import BadRequest, NotFound
from server.fhir.definitions import Definitions
from server.interactions.create import create
from server.interactions.delete import conditional_delete, delete
from server.interactions.history import history, history_of_all
from server.interactions.patch import conditional_patch, patch
from server.interactions.read import read
from server.interactions.request import Answer, Request
from server.interactions.search import search, search_compartment, search_system
from server.interactions.update import conditional_update, update
from server.interactions.vread import vread
from server.repository import Transaction

Interaction = Callable[[Transaction, Request], Answer]

#: Method and shape of the path -> (FHIR's name of the interaction, function).
INTERACTIONS: dict[tuple[str, str], tuple[str, Interaction]] = {
    ("GET", "type/id"): ("read", read),
    ("GET", "type/id/_history/version"): ("vread", vread),
    ("GET", "type/id/_history"): ("history-instance", history),
    ("GET", "type/_history"): ("history-type", history_of_all),
    ("GET", "_history"): ("history-system", history_of_all),
    ("GET", ""): ("search-system", search_system),
    ("POST", "_search"): ("search-system", search_system),
    ("GET", "type"): ("search-type", search),
    ("POST", "type/_search"): ("search-type", search),
    ("GET", "type/id/type"): ("search-type", search_compartment),
    ("POST", "type/id/type/_search"): ("search-type", search_compartment),
    ("GET", "type/id/*"): ("search-system", search_compartment),
    ("POST", "type/id/_search"): ("search-system", search_compartment),
    ("POST", "type"): ("create", create),
    ("PUT", "type/id"): ("update", update),
    ("PUT", "type"): ("update", conditional_update),
    ("PATCH", "type/id"): ("patch", patch),
    ("PATCH", "type"): ("patch", conditional_patch),
    ("DELETE", "type/id"): ("delete", delete),
    ("DELETE", "type"): ("delete", conditional_delete),
}


#: Paths that name no type.
_SYSTEM: tuple[tuple[str, ...], ...] = ((), ("_search",), ("_history",))


def chosen(definitions: Definitions, request: Request) -> Interaction:
    """The interaction; NotFound for a type that there is none of, BadRequest for a shape that FHIR does not have."""
    path = request.path
    if path not in _SYSTEM and not definitions.is_resource(path[0]):
        raise NotFound(f"There is no resource type '{path[0][:64]}' in FHIR R4.")
    found = INTERACTIONS.get((request.method, _shape(path)))
    if found is None:
        raise BadRequest(f"{request.method} {'/'.join(path)[:200]} is no interaction of this server.")
    return found[1]


def is_reading(request: Request) -> bool:
    """Whether a request can't change anything."""
    return request.method == "GET" or request.path[-1:] == ("_search",)


def _shape(path: tuple[str, ...]) -> str:
    if path in _SYSTEM:
        return "/".join(path)
    if len(path) == 2:
        return f"type/{path[1]}" if path[1] in ("_search", "_history") else "type/id"
    if len(path) > 2 and path[2] == "_history":
        return "type/id/_history" if len(path) == 3 else "type/id/_history/version" if len(path) == 4 else "other"
    if len(path) > 2:
        return _in_compartment(path[2:])
    return "type" if len(path) == 1 else "other"


def _in_compartment(rest: tuple[str, ...]) -> str:
    """The shape of Type/id/... within a compartment: of one type, or of all."""
    if rest[0][:1].isupper() and rest[1:] in ((), ("_search",)):
        return "/".join(("type/id/type", *rest[1:]))
    return f"type/id/{rest[0]}" if rest in (("*",), ("_search",)) else "other"
