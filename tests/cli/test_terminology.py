"""``hutong terminology`` on a database of its own."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from server.cli.commands import application
from server.errors import NotFound, Unprocessable
from tests.terminology import releases

SYSTEM = {
    "resourceType": "CodeSystem", "id": "one", "url": "urn:one", "status": "active", "content": "complete",
    "concept": [{"code": "a"}],
}  # fmt: skip


def test_releases_are_loaded_listed_and_removed(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUTONG_DATABASE_URL", database_url)

    def run(*words: str) -> Result:
        return CliRunner().invoke(application("terminology"), ["terminology", *words, "--data", str(tmp_path)])

    def listed() -> dict[str, Any]:
        return {one["url"]: one for one in json.loads(run("list", "--json").stdout)}

    (tmp_path / "who.xml").write_text(releases.CLAML)
    done = json.loads(run("load", str(tmp_path / "who.xml"), "--as", "icd10", "--json").stdout)
    assert done["systems"][0]["concepts"] == 5 and done["seconds"] >= 0
    package = releases.package(tmp_path / "p.tgz", SYSTEM, {**SYSTEM, "id": "two", "status": "wrong"})
    refused = run("load", str(package), "--as", "package", "--json")
    assert refused.exit_code == 1
    told = json.loads(refused.stdout)
    assert told["resources"] == {"CodeSystem": 1} and told["refused"][0]["resource"] == "CodeSystem/two"
    found = listed()
    assert found["urn:one"]["from"] == "CodeSystem/one"
    again = run("load", str(tmp_path / "who.xml"), "--as", "icd10")
    assert again.exit_code == 0 and "5 concepts" in again.stdout
    wrong = run("load", str(tmp_path / "who.xml"), "--as", "loinc")
    assert isinstance(wrong.exception, Unprocessable) and "Loinc.csv" in wrong.exception.details
    assert isinstance(run("load", str(tmp_path / "none"), "--as", "loinc").exception, NotFound)
    assert run("remove", "http://hl7.org/fhir/sid/icd-10", "2019").exit_code == 0
    assert set(listed()) == {"urn:one"}
    assert isinstance(run("remove", "http://hl7.org/fhir/sid/icd-10", "2019").exception, NotFound)
