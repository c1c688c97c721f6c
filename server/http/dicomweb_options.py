"""Retrieve Capabilities (PS3.18 8.9, annex H): what the service offers, from its routes, as WADL or JSON."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from server.errors import NotAcceptable
from server.http.dicomweb_services import PREFIX, DicomWeb
from server.http.media_type import asked

_WADL, _JSON = "application/vnd.sun.wadl+xml", "application/json"
#: What capabilities are given as.
MEDIA_TYPES = (_WADL, _JSON)
_NAMESPACE = "http://wadl.dev.java.net/2009/02"
_VARIABLE = re.compile(r"\{(\w+)(?::\w+)?\}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """One method of one resource."""

    #: With variables in braces, without the service's own prefix.
    path: str
    method: str
    #: What it does.
    name: str
    gives: tuple[str, ...]
    takes: tuple[str, ...]


def methods(api: APIRouter) -> list[Method]:
    """Everything that the routes do, in the order of their paths; HEAD goes with GET."""
    found = [
        Method(
            path=_VARIABLE.sub(r"{\1}", route.path.removeprefix(PREFIX)),
            method=verb,
            name=route.name,
            gives=tuple((route.openapi_extra or {}).get("x-gives", ())),
            takes=tuple((route.openapi_extra or {}).get("x-takes", ())),
        )
        for route in api.routes
        if isinstance(route, APIRoute)
        for verb in sorted(route.methods or ())
        if verb not in ("HEAD", "OPTIONS")
    ]
    return sorted(found, key=lambda one: (one.path, one.method))


def add_routes(api: APIRouter, services: DicomWeb, others: Sequence[APIRouter] = ()) -> None:
    """OPTIONS for the service and for each resource, also of ``others``; to be added behind all others."""
    offered = [one for router in (api, *others) for one in methods(router)]

    def capabilities(request: Request) -> Response:
        """What the resource and those under it offer."""
        services.access(request)
        wanted = request.url.path.removeprefix(PREFIX).rstrip("/")
        below = [one for one in offered if _is_under(one.path, wanted)]
        own = {one.method for one in offered if _matches(one.path, wanted)}
        allowed = sorted(own | ({"HEAD"} if "GET" in own else set()) | {"OPTIONS"})
        headers = {"Allow": ", ".join(allowed), "Vary": "Accept"}
        for media in asked(request):
            if media.type in (_JSON, "application/dicom+json"):
                return Response(_json(below, services.url(request)), 200, headers, _JSON)
            if media.type in (_WADL, "application/xml", "text/xml", "application/*", "*/*"):
                return Response(_wadl(below, services.url(request)), 200, headers, _WADL)
        raise NotAcceptable(f"Capabilities are given as {_WADL} or {_JSON}.", expression="Accept")

    for path in dict.fromkeys(["", *(one.path for one in offered)]):
        name = f"capabilities {path}"
        api.add_api_route(path, capabilities, methods=["OPTIONS"], name=name, include_in_schema=False)


def _pattern(path: str) -> re.Pattern[str]:
    parts = [re.escape(part) if not part.startswith("{") else "[^/]+" for part in path.split("/")]
    return re.compile("/".join(parts))


def _matches(path: str, wanted: str) -> bool:
    return _pattern(path).fullmatch(wanted) is not None


def _is_under(path: str, wanted: str) -> bool:
    """Whether the resource is the wanted one or below it."""
    depth = wanted.count("/")
    return _matches("/".join(path.split("/")[: depth + 1]), wanted) if wanted else True


def _json(found: Sequence[Method], url: str) -> bytes:
    return orjson.dumps(
        {
            "base": url,
            "resources": [
                {
                    "path": one.path,
                    "method": one.method,
                    "name": one.name,
                    "mediaTypes": one.gives,
                    "queryParameters": one.takes,
                }
                for one in found
            ],
        }
    )


def _wadl(found: Sequence[Method], url: str) -> bytes:
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<application xmlns="{_NAMESPACE}">']
    lines.append(f"<resources base={quoteattr(url)}>")
    for path in dict.fromkeys(one.path for one in found):
        lines.append(f"<resource path={quoteattr(path.lstrip('/'))}>")
        lines += [f'<param name="{name}" style="template"/>' for name in _VARIABLE.findall(path)]
        for one in found:
            if one.path == path:
                lines += _method(one)
        lines.append("</resource>")
    lines += ["</resources>", "</application>", ""]
    return "\n".join(lines).encode()


def _method(one: Method) -> list[str]:
    lines = [f'<method name="{one.method}" id={quoteattr(one.name)}>', "<request>"]
    lines += [f'<param name="{name}" style="query"/>' for name in one.takes]
    if one.gives:
        lines.append('<param name="Accept" style="header">')
        lines += [f"<option value={quoteattr(kind)}/>" for kind in one.gives]
        lines.append("</param>")
    lines += ["</request>", "<response>"]
    lines += [f"<representation mediaType={quoteattr(kind)}/>" for kind in one.gives]
    return [*lines, "</response>", "</method>"]
