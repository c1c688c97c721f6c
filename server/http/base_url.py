"""The address under which a client sees this server."""

from fastapi import Request

from server.settings import Settings


def base_url(request: Request, settings: Settings) -> str:
    """Scheme and authority without a slash at the end: the setting, else what the request was sent to."""
    if settings.base_url:
        return settings.base_url.rstrip("/")
    return f"{request.url.scheme}://{request.headers.get('host') or request.url.netloc}"
