"""Logs are JSON lines that never quote the text of a foreign error."""

import json
import logging
import sys
from collections.abc import Iterator
from io import StringIO

import pytest

from server.errors import NotFound
from server.telemetry import logs


@pytest.fixture
def lines() -> Iterator[StringIO]:
    """What is written while standard error is another than at the time of configuration."""
    written = StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.configure("info")
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)


def test_the_text_of_a_foreign_error_stays_out(lines: StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", lines)
    try:
        raise ValueError("Doe^Jane is not a date")
    except ValueError:
        logging.getLogger("somebody").exception("a job failed")
    (line,) = [json.loads(text) for text in lines.getvalue().splitlines()]
    assert line["event"] == "a job failed"
    assert line["error"] == "builtins.ValueError"
    assert "Doe" not in lines.getvalue()
    assert any("test_logs.py" in frame for frame in line["frames"])


def test_our_own_errors_are_told(lines: StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", lines)
    try:
        raise NotFound("There is no such thing.")
    except NotFound:
        logs.logger("test").error("looked", exc_info=True)
    assert "There is no such thing." in lines.getvalue()


def test_libraries_that_tell_of_every_request_are_quiet(lines: StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", lines)
    logging.getLogger("httpx").info("POST https://example.org/?token=secret")
    logging.getLogger("procrastinate.worker").info("Starting job")
    assert lines.getvalue() == ""


def test_libraries_that_quote_values_are_silent(lines: StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", lines)
    logging.getLogger("pydicom").error("Invalid value 'Doe^Jane' for PN")
    assert "Doe" not in lines.getvalue()
