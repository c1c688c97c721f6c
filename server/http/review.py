"""The review page: a person accepts, rejects, edits and adds findings, and signs by name.

A form without script that says only what changed; ``If-Match`` is the version of the DiagnosticReport that was shown.
"""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from server.errors import BadRequest, Forbidden, HutongError, PreconditionFailed, Unprocessable
from server.http import review_form
from server.http.access import AccessOfRequest
from server.http.drawing import Drawing
from server.http.status import status_of
from server.security.access import Access
from server.workflow import choices
from server.workflow.results import Results
from server.workflow.review import Draft, Reviewer

#: Who callers without a token are; a report is not verified by that.
_LOOPBACK = "loopback"


def router(reviewer: Reviewer, results: Results, access: AccessOfRequest, drawing: Drawing) -> APIRouter:
    """The page of one report's review, and what its form is sent to."""
    page = _Review(reviewer, results, access, drawing)
    routes = APIRouter(tags=["results page"])
    add: Callable[..., None] = routes.add_api_route
    add("/review/{report}", page.show, methods=["GET"], summary="A report to be decided on.")
    add("/review/{report}", page.decide, methods=["POST"], summary="Decisions: the next version of the report.")
    return routes


class _Review:
    def __init__(self, reviewer: Reviewer, results: Results, access: AccessOfRequest, drawing: Drawing) -> None:
        self._reviewer = reviewer
        self._results = results
        self._access = access
        self._drawing = drawing

    def show(self, request: Request, report: str) -> Response:
        """The newest version with its form."""
        return self._page(request, self._access(request), report)

    async def decide(self, request: Request, report: str) -> Response:
        """Writes the next version and goes to the study; what is refused is told on the page."""
        form = await review_form.fields(request)
        return await run_in_threadpool(self._decide, request, report, form)

    def _decide(self, request: Request, report: str, form: dict[str, str]) -> Response:
        access = self._access.of_form(request, form.get("proof", ""))
        # A token names who decides; without tokens there is nobody but who says so.
        person = form.get("person", "") if access.who == _LOOPBACK else access.who
        version = request.headers.get("if-match", "").removeprefix('W/"').rstrip('"') or form.get("if_match", "")
        try:
            decided = review_form.decisions({**form, "if_match": version}, choices.load())
            self._reviewer.decide(access, report, person, decided)
        except (PreconditionFailed, BadRequest, Unprocessable, Forbidden) as error:
            return self._page(request, access, report, error)
        study = self._reviewer.draft(access, report).study
        return RedirectResponse(f"/?study={study}", status_code=303)

    def _page(self, request: Request, access: Access, report: str, error: HutongError | None = None) -> Response:
        draft = self._reviewer.draft(access, report)
        return self._drawing.page(
            request,
            "review.html",
            status=status_of(error)[0] if error else 200,
            **self._values(request, access, draft),
            refused=error.details if error else "",
            overtaken=isinstance(error, PreconditionFailed),
        )

    def _values(self, request: Request, access: Access, draft: Draft) -> dict[str, Any]:
        views = self._results.views(access, [(draft.findings.key, draft.findings)], "")
        middle = draft.images[len(draft.images) // 2] if draft.images else None
        return {
            "draft": draft,
            "views": views,
            "middle": middle,
            "choices": choices.load(),
            "proof": self._access.proof(request),
            "named": "" if access.who == _LOOPBACK else access.who,
            "may_write": "write" in access.scopes or "admin" in access.scopes,
        }
