"""The results page at ``/``: studies as they arrive and what was found in them, drawn by the server.

It needs no script: one that looks every second is added where scripts run, else the page loads itself anew. Nothing
comes from another host (Content-Security-Policy), and nothing can be written by it but the reader's own sign-in.
"""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse

from server.errors import Forbidden, HutongError, Unauthenticated
from server.http.access import COOKIE, AccessOfRequest
from server.http.drawing import HERE, LANGUAGE_COOKIE, Drawing, words_of
from server.http.wording import Wording
from server.security.access import Access
from server.workflow.results import Results

_STATIC = {"page.css": "text/css", "page.js": "text/javascript", "review.js": "text/javascript"}
#: A sign-in form is a token of 43 characters and little else.
_LONGEST_FORM = 4096
_KEPT_SECONDS = 12 * 3600
_UID = re.compile(r"[0-9.]{1,64}")


def router(results: Results, access: AccessOfRequest, drawing: Drawing) -> APIRouter:
    """The page, the part of it that changes, its style and script, and the sign-in off loopback."""
    page = _Page(results, access, drawing)
    routes = APIRouter(tags=["results page"])
    add: Callable[..., None] = routes.add_api_route
    add("/", page.whole, methods=["GET"], response_class=HTMLResponse, summary="Studies, findings and what followed.")
    add("/live", page.live, methods=["GET"], response_class=HTMLResponse, summary="The part of / that changes.")
    add("/login", page.login, methods=["POST"], summary="Keeps a token in a cookie, for reading by browser.")
    add("/logout", page.logout, methods=["POST"], summary="Forgets the token.")
    add("/static/{name}", page.static, methods=["GET"], summary="The page's style and script.")
    return routes


class _Page:
    """The routes' handlers and what they share."""

    def __init__(self, results: Results, access: AccessOfRequest, drawing: Drawing) -> None:
        self._results = results
        self._access = access
        self._drawing = drawing

    def whole(self, request: Request, study: str | None = None, lang: str | None = None) -> Response:
        """The page; off loopback, for callers without a token, the sign-in."""
        words = words_of(request, lang)
        try:
            values = self._values(self._access(request), study)
        except (Unauthenticated, Forbidden):
            return self._sign_in(request, words)
        answer = self._drawing.html("page.html", words, **values)
        if lang:
            answer.set_cookie(LANGUAGE_COOKIE, words.language, max_age=365 * 86400, samesite="lax", httponly=True)
        return answer

    def live(self, request: Request, study: str | None = None) -> Response:
        """What changes of the page, for its script."""
        return self._drawing.html("live.html", words_of(request, None), **self._values(self._access(request), study))

    async def login(self, request: Request) -> Response:
        """Takes a token from the form; wrong ones bring the form back."""
        text = await _form_value(request, "token")
        try:
            await run_in_threadpool(self._access.of_token, text)
        except HutongError:
            return self._sign_in(request, words_of(request, None), wrong=True)
        answer = RedirectResponse("/", status_code=303)
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, text, max_age=_KEPT_SECONDS, httponly=True, samesite="strict", secure=secure)
        return answer

    def logout(self) -> Response:
        """Forgets the token."""
        answer = RedirectResponse("/", status_code=303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    def static(self, name: str) -> Response:
        """The style or the script; nothing else is a file here."""
        if name not in _STATIC:
            return Response(status_code=404)
        headers = {"Cache-Control": "no-cache"}
        return FileResponse(HERE / "static" / name, media_type=_STATIC[name], headers=headers)

    def _values(self, access: Access, study: str | None) -> dict[str, Any]:
        """What the templates show: the list, and the study that was asked for, else the one that grew last."""
        studies = self._results.studies(access)
        asked = study if study and _UID.fullmatch(study) else None
        chosen = asked or (studies[0].arrival.study if studies else "")
        return {
            "studies": studies,
            "asked": asked or "",
            "detail": self._results.study(access, chosen) if chosen else None,
            "missing": bool(asked) and not any(one.arrival.study == asked for one in studies),
        }

    def _sign_in(self, request: Request, words: Wording, *, wrong: bool = False) -> Response:
        wrong = wrong or bool(request.cookies.get(COOKIE))
        return self._drawing.html("login.html", words, status=401, wrong=wrong)


async def _form_value(request: Request, name: str) -> str:
    """One value of an application/x-www-form-urlencoded body; empty where it is missing or the body too long."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST_FORM:
            return ""
    return parse_qs(body.decode("ascii", errors="replace")).get(name, [""])[0].strip()
