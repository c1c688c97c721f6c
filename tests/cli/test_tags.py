"""``hutong tags`` on a database of its own."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.cli.commands import application


def test_tags_are_added_listed_and_removed(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUTONG_DATABASE_URL", database_url)
    run = CliRunner()
    data = ["--data", str(tmp_path)]
    added = run.invoke(application(), ["tags", "add", "InstitutionName", "--level", "series", *data])
    assert added.exit_code == 0 and "is declared" in added.output
    (found,) = json.loads(run.invoke(application(), ["tags", "list", "--json", *data]).stdout)
    assert (found["path"], found["vr"], found["level"], found["ready"]) == ("00080080", "LO", "series", True)
    assert run.invoke(application(), ["tags", "remove", "InstitutionName", *data]).exit_code == 0
    assert json.loads(run.invoke(application(), ["tags", "list", "--json", *data]).stdout) == []
