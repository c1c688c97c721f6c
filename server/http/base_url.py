"""The address under which a client sees this server."""

from fastapi import Request

from server.settings import Settings


def base_url(request: Request, settings: Settings) -> str:
    """Scheme and authority without a slash at the end: the setting, else what the request was sent to."""
    if settings.base_url:
        return settings.base_url.rstrip("/")
    return f"{request.url.scheme}://{_authority(request)}"


def _authority(request: Request) -> str:
    host = request.headers.get("host") or request.url.netloc
    address, port = request.scope.get("server") or ("", None)
    # dicomweb-client leaves the port out of Host; a client that names our own address has used our own port.
    if port and host in (address, f"[{address}]", "localhost"):
        return f"{host}:{port}"
    return host
