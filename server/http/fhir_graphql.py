"""$graphql over HTTP: https://hl7.org/fhir/R4/graphql.html; JSON in GraphQL's own form goes out, and may come in."""

from base64 import b64decode
from collections.abc import Sequence
from dataclasses import replace

from fastapi import Request, Response

from server.errors import BadRequest, HutongError
from server.fhir import json_format
from server.fhir.outcome import outcome, status
from server.http import fhir_operations
from server.interactions.request import Request as FhirRequest
from server.operations.operation import Operation
from server.security.access import Access

NAME = "$graphql"
_TYPES = ("application/json", "application/graphql")
_JSON = "application/json; charset=utf-8"


def speaks(request: Request) -> bool:
    """Whether the body is in a form of GraphQL's own; otherwise it is Parameters, as for every operation."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() in _TYPES


def asked(request: Request, path: tuple[str, ...], body: bytes, base_url: str) -> FhirRequest:
    """The call that a body in a form of GraphQL's own makes."""
    parameters = tuple(request.query_params.multi_items())
    if request.headers["content-type"].startswith(_TYPES[1]):
        sent: dict[str, object] = {"query": _text(body)}
    else:
        found = json_format.parse_any(body)
        if not isinstance(found, dict):
            raise BadRequest("Send an object with query, and operationName and variables where there are any.")
        sent = found
    more = tuple((name, _written(value)) for name, value in sent.items() if value is not None)
    return FhirRequest(method="POST", path=path, parameters=(*parameters, *more), base_url=base_url)


def answer(operations: Sequence[Operation], request: FhirRequest, access: Access) -> Response:
    """The data, or what is wrong as GraphQL's errors with an OperationOutcome each."""
    try:
        binary = json_format.parse(fhir_operations.answer(operations, request, access).body)
    except HutongError as error:
        errors = [
            {"message": issue.details, "extensions": {"resource": outcome([replace(issue)])}} for issue in error.issues
        ]
        return Response(json_format.write({"errors": errors}), status(error), media_type=_JSON)
    return Response(b64decode(binary["data"]), media_type=_JSON)


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except ValueError as error:
        raise BadRequest("The query is no UTF-8.") from error


def _written(value: object) -> str:
    return value if isinstance(value, str) else json_format.write(value).decode()
