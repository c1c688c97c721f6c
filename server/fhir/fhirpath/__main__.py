"""The engine by itself, for suites and for trying: JSON Lines in, JSON Lines out.

    echo '{"expression": "name.given", "resource": {...}}' | python -m server.fhir.fhirpath

A line asks with ``expression`` and ``resource``. The answer has ``result``, a list of ``type`` (FHIR's or System's) and
``text`` (as toString() gives it; null for a complex element), or ``error``. An expression that makes no sense for the
resource's type is an error: https://hl7.org/fhirpath/N1/#type-safety-and-strict-evaluation
"""

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from server.errors import BadRequest, HutongError
from server.fhir import json_format
from server.fhir.definitions import load
from server.fhir.fhirpath import Node, compile_expression, system_value
from server.fhir.fhirpath.functions_conversion import to_text
from server.fhir.fhirpath.type_specifiers import system_type


def answers(lines: Iterable[bytes]) -> Iterator[bytes]:
    """One line for each."""
    for line in lines:
        try:
            answer: dict[str, Any] = {"result": _result(json_format.parse(line))}
        except HutongError as error:
            answer = {"error": error.details}
        yield json_format.write(answer)


def _result(asked: dict[str, Any]) -> list[dict[str, Any]]:
    text, resource = asked.get("expression"), asked.get("resource")
    if not isinstance(text, str) or not isinstance(resource, dict):
        raise BadRequest("Ask with an expression and a resource.")
    expression = compile_expression(text)
    expression.check(str(resource.get("resourceType")), load())
    return [_item(item) for item in expression.evaluate(resource, model=load())]


def _item(item: Any) -> dict[str, Any]:
    value = system_value(item)
    return {"type": (isinstance(item, Node) and item.type) or system_type(value), "text": to_text(value)}


if __name__ == "__main__":
    for written in answers(sys.stdin.buffer):
        sys.stdout.buffer.write(written + b"\n")
        sys.stdout.buffer.flush()
