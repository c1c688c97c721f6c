"""The closed tree of errors as HTTP status codes (RFC 9110), the same for every edge that speaks HTTP."""

from server import errors

_STATUS: tuple[tuple[type[errors.HutongError], int], ...] = (
    (errors.BadRequest, 400),
    (errors.Unauthenticated, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.NotAcceptable, 406),
    (errors.Conflict, 409),
    (errors.Gone, 410),
    (errors.PreconditionFailed, 412),
    (errors.TooLarge, 413),
    (errors.UnsupportedMedia, 415),
    (errors.Unprocessable, 422),
    (errors.Unavailable, 503),
)


def status_of(error: errors.HutongError) -> tuple[int, dict[str, str]]:
    """The status code and the headers that go with it."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "5"}}
    return status, headers.get(status, {})
