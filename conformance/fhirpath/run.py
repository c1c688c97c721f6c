"""Runs the suite against an engine and judges its answers."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from conformance.fhirpath.suite import Item, Test, small, tests


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A test that the engine does not pass."""

    group: str
    name: str
    expression: str
    expected: str
    got: str


class EngineEnded(Exception):
    """The engine gave no answer."""


def run(folder: Path, inputs: Path, command: Sequence[str]) -> tuple[int, list[Failure]]:
    """How many tests there are, and those that fail."""
    count, failures = 0, []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as engine:
        for test in tests(folder):
            count += 1
            answer = _ask(engine, test, _resource(inputs, test.input))
            if not passes(test, answer):
                failures.append(_failure(test, answer))
        if engine.stdin is not None:
            engine.stdin.close()
    return count, failures


def _resource(inputs: Path, name: str) -> str:
    """The JSON text of a test's resource, so that its decimals keep their digits."""
    return (inputs / f"{name}.json").read_text(encoding="utf-8") if name else '{"resourceType": "Patient"}'


def _ask(engine: "subprocess.Popen[bytes]", test: Test, resource: str) -> dict[str, Any]:
    assert engine.stdin is not None and engine.stdout is not None
    line = f'{{"expression": {json.dumps(test.expression)}, "resource": {" ".join(resource.splitlines())}}}\n'
    engine.stdin.write(line.encode())
    engine.stdin.flush()
    answer = engine.stdout.readline()
    if not answer:
        raise EngineEnded(f"The engine ended at {test.name}.")
    found: dict[str, Any] = json.loads(answer, parse_float=Decimal)
    return found


def passes(test: Test, answer: dict[str, Any]) -> bool:
    """Whether the answer is what the test expects."""
    if "error" in answer or test.invalid:
        return "error" in answer and bool(test.invalid)
    results, outputs = _results(test, answer), list(test.outputs)
    if not test.ordered:
        results, outputs = sorted(results), sorted(outputs)
    return len(results) == len(outputs) and all(
        text == expected and kind in ("", seen) for (seen, text), (kind, expected) in zip(results, outputs, strict=True)
    )


def _results(test: Test, answer: dict[str, Any]) -> list[Item]:
    items = answer["result"]
    if test.predicate:
        return [("boolean", "true" if items else "false")]
    return [(small(item["type"]), "?" if item["text"] is None else item["text"]) for item in items]


def _failure(test: Test, answer: dict[str, Any]) -> Failure:
    expected = f"{test.invalid} error" if test.invalid else _shown(test.outputs)
    got = f"error: {answer['error']}" if "error" in answer else _shown(_results(test, answer))
    return Failure(group=test.group, name=test.name, expression=test.expression, expected=expected, got=got)


def _shown(items: Sequence[Item]) -> str:
    return "; ".join(f"{kind} {text}".strip() for kind, text in items) or "{}"
