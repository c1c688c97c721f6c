"""OperationOutcome, and the HTTP status that FHIR gives each error: https://hl7.org/fhir/R4/http.html#Status-Codes"""

from collections.abc import Iterable
from typing import Any

from server.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    Gone,
    HutongError,
    Issue,
    NotAcceptable,
    NotFound,
    PreconditionFailed,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unprocessable,
    UnsupportedMedia,
)

#: From the closed tree's branches to status codes; subclasses count as what they are derived from.
STATUS: dict[type[HutongError], int] = {
    BadRequest: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    NotAcceptable: 406,
    Conflict: 409,
    Gone: 410,
    PreconditionFailed: 412,
    TooLarge: 413,
    UnsupportedMedia: 415,
    Unprocessable: 422,
    Unavailable: 503,
}


def status(error: HutongError) -> int:
    """The HTTP status of an error; 500 for the tree's root."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def outcome(issues: Iterable[Issue]) -> dict[str, Any]:
    """An OperationOutcome: https://hl7.org/fhir/R4/operationoutcome.html"""
    return {"resourceType": "OperationOutcome", "issue": [_issue(issue) for issue in issues]}


def _issue(issue: Issue) -> dict[str, Any]:
    found: dict[str, Any] = {"severity": issue.severity, "code": issue.code, "details": {"text": issue.details}}
    if issue.expression:
        found["expression"] = [issue.expression]
    return found


def information(text: str, code: str = "informational") -> dict[str, Any]:
    """An OperationOutcome that says that all went well."""
    return outcome([Issue(code=code, details=text, severity="information")])
