"""``/viewer``: OHIF, as ``hutong viewer install`` put it into the data folder, on the same origin as DICOMweb.

Where it is not installed the page says how. Files are given as they are, compressed where the client takes that; only
the page itself is rewritten, so that it works under the path that a proxy gave us.
"""

import mimetypes
import re
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse

from server.http.base_url import base_url
from server.http.drawing import environment
from server.http.wording import Wording, language
from server.settings import Settings

_CONFIG = Path(__file__).parent / "static" / "viewer-config.js"
_ROOTED = re.compile(r'((?:href|src|content)=")/(?!/)')
#: OHIF builds functions from text and workers from blobs; nothing comes from another host, and nothing goes there.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; connect-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'none'; frame-ancestors 'self'"
)
#: A file whose name holds a digest never changes.
_HASHED = re.compile(r"[0-9a-f]{20}")
_FOREVER, _FRESH = "public, max-age=31536000, immutable", "no-cache"
#: The build brings a worker that would keep an old version alive in browsers.
_LEFT_OUT = frozenset({"sw.js", "init-service-worker.js", "installed.json"})
mimetypes.add_type("application/wasm", ".wasm")
mimetypes.add_type("text/javascript", ".js")


def router(settings: Settings) -> APIRouter:
    """The viewer's page, its configuration and its files."""
    routes = APIRouter(tags=["viewer"])
    folder = settings.viewer_folder

    @routes.get("/viewer", include_in_schema=False)
    def bare(request: Request) -> Response:
        return RedirectResponse(f"{base_url(request, settings)}/viewer/", status_code=308)

    @routes.get("/viewer/{path:path}", summary="OHIF, where it is installed.")
    def viewer(request: Request, path: str) -> Response:
        if path == "app-config.js":
            return FileResponse(_CONFIG, media_type="text/javascript", headers={"Cache-Control": _FRESH})
        file = _file(folder, path)
        if file is not None:
            return _given(request, file)
        if Path(path).suffix and path != "index.html":
            return Response(status_code=404)
        return _page(request, settings, folder)

    return routes


def _file(folder: Path, path: str) -> Path | None:
    """The file of the build that the path names; nothing outside of it."""
    if path in _LEFT_OUT or path in ("", "index.html") or "\0" in path:
        return None
    file = (folder / path).resolve()
    return file if file.is_relative_to(folder.resolve()) and file.is_file() else None


def _given(request: Request, file: Path) -> Response:
    headers = {"Cache-Control": _FOREVER if _HASHED.search(file.name) else _FRESH, "Vary": "Accept-Encoding"}
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    packed = file.with_name(file.name + ".gz")
    if "gzip" in request.headers.get("accept-encoding", "") and packed.is_file():
        return FileResponse(packed, media_type=kind, headers={**headers, "Content-Encoding": "gzip"})
    return FileResponse(file, media_type=kind, headers=headers)


def _page(request: Request, settings: Settings, folder: Path) -> Response:
    page = folder / "index.html"
    if not page.is_file():
        words = Wording(language=language(None, None, request.headers.get("accept-language", "")))
        text = environment().get_template("viewer.html").render(words=words, settings=settings)
        return HTMLResponse(text, status_code=404, headers={"Cache-Control": "no-store"})
    root = request.scope.get("root_path", "") or _prefix(request, settings)
    text = _ROOTED.sub(rf"\g<1>{root}/viewer/", page.read_text(encoding="utf-8"))
    text = text.replace("window.PUBLIC_URL = '/'", f"window.PUBLIC_URL = '{root}/viewer/'")
    text = re.sub(r"<script[^>]*init-service-worker\.js[^>]*></script>", "", text)
    return HTMLResponse(text, headers={"Content-Security-Policy": _POLICY, "Cache-Control": _FRESH})


def _prefix(request: Request, settings: Settings) -> str:
    """The path that a proxy put before ours, if any."""
    address = base_url(request, settings)
    path = address.partition("://")[2].partition("/")[2]
    return f"/{path}" if path else ""
