"""The address under which a client sees this server, also from behind proxies (RFC 7239, X-Forwarded-*)."""

import re
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from fastapi import Request

from server.errors import BadRequest
from server.settings import Settings

_PAIR = re.compile(r'(?:^|[;,])\s*(\w+)\s*=\s*(?:"([^"]*)"|([^;,"\s]*))')
#: host, host:port or [address]:port; a path of plain segments.
_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?", re.ASCII)
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*", re.ASCII)


def base_url(request: Request, settings: Settings) -> str:
    """Scheme, authority and prefix without a slash at the end: the setting, else what the client asked.

    What a proxy says of the client's request counts only when its address is among ``trusted_proxies``.
    """
    if settings.base_url:
        return settings.base_url.rstrip("/")
    scheme, authority, prefix = str(request.scope["scheme"]), _authority(request), ""
    if settings.trusted_proxies and _is_trusted(request, settings.trusted_proxies):
        said = _forwarded(request) or _x_forwarded(request)
        scheme = said.get("proto", scheme)
        authority = said.get("host", authority)
        prefix = request.headers.get("x-forwarded-prefix", "").split(",")[0].strip().rstrip("/")
    if scheme not in ("http", "https"):
        scheme = str(request.scope["scheme"])
    if not _AUTHORITY.fullmatch(authority):
        # Whatever that is, it goes into no answer.
        address, port = request.scope.get("server") or ("localhost", None)
        authority = f"{address}:{port}" if port else address
    return f"{scheme}://{authority}{prefix if _PREFIX.fullmatch(prefix) else ''}"


def _is_trusted(request: Request, networks: tuple[str, ...]) -> bool:
    if request.client is None:
        return False
    try:
        address = ip_address(request.client.host)
    except ValueError:
        return False
    return any(address in network for network in networks_of(networks))


@cache
def networks_of(names: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    """The networks that a setting names; raises BadRequest for what is none."""
    try:
        return tuple(ip_network(name, strict=False) for name in names)
    except ValueError as error:
        raise BadRequest("Write addresses or networks, e.g. 10.0.0.0/8.", expression="trusted_proxies") from error


def _forwarded(request: Request) -> dict[str, str]:
    """The first element of Forwarded: what the proxy next to the client saw."""
    first = request.headers.get("forwarded", "").split(",")[0]
    pairs = {match[1].lower(): match[2] if match[2] is not None else match[3] for match in _PAIR.finditer(first)}
    return {name: value for name, value in pairs.items() if name in ("proto", "host") and value}


def _x_forwarded(request: Request) -> dict[str, str]:
    def said(name: str) -> str:
        return request.headers.get(f"x-forwarded-{name}", "").split(",")[0].strip()

    found = {name: value for name in ("proto", "host") if (value := said(name))}
    port = said("port")
    if port.isdigit() and ":" not in found.get("host", ":"):
        usual = {"http": "80", "https": "443"}.get(found.get("proto", request.url.scheme))
        found["host"] += "" if port == usual else f":{port}"
    return found


def _authority(request: Request) -> str:
    host = request.headers.get("host") or ""
    address, port = request.scope.get("server") or ("", None)
    # dicomweb-client leaves the port out of Host; a client that names our own address has used our own port.
    if port and host in (address, f"[{address}]", "localhost"):
        return f"{host}:{port}"
    return host
