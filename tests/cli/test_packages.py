"""``hutong packages`` on a database of its own, from files and from a registry on loopback."""

import base64
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from server.cli.commands import application
from server.errors import BadRequest, HutongError, NotFound, TooLarge, Unavailable, Unprocessable
from server.fhir import package
from tests.fhir.profile.case import BASE, element, profile

GENDER = {**profile("g", "Patient", element("Patient.gender", min=1)), "id": "g", "version": "1.0.0"}
VALUE_SET = {"resourceType": "ValueSet", "id": "v", "url": "http://example.org/v", "version": "1", "status": "active"}


def packed(file: Path, *resources: dict[str, Any], version: str = "1.0.0", **manifest: Any) -> Path:
    """A package on disk."""
    named = {"name": "example.test", "version": version, "fhirVersions": ["4.0.1"], **manifest}
    content = {"package/package.json": named, "package/.index.json": {}, "package/other/x.json": GENDER,
               "package/example/Patient-1.json": {"resourceType": "Patient", "id": "1"}}  # fmt: skip
    content |= {f"package/{each['resourceType']}-{place}.json": each for place, each in enumerate(resources)}
    with tarfile.open(file, "w:gz") as archive:
        for name, value in content.items():
            body = json.dumps(value).encode()
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    return file


@pytest.fixture
def run(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HUTONG_DATABASE_URL", database_url)

    def call(*arguments: str) -> Any:
        answer = CliRunner().invoke(
            application("packages"), ["packages", *arguments, "--data", str(tmp_path), "--json"]
        )
        if answer.exception is not None and not isinstance(answer.exception, SystemExit):
            raise answer.exception
        return json.loads(answer.stdout)

    return call


def test_packages_are_installed_listed_and_removed(run: Any, tmp_path: Path) -> None:
    built_in = {"resourceType": "StructureDefinition", "id": "Patient", "url": "http://hl7.org/fhir/StructureDefinition/Patient",
                "status": "active"}  # fmt: skip
    broken = {"resourceType": "ValueSet", "id": "b", "url": "http://example.org/b", "status": "done"}
    example = {"resourceType": "Patient", "id": "p"}
    file = packed(tmp_path / "a.tgz", GENDER, VALUE_SET, built_in, broken, example, dependencies={
        "hl7.fhir.r4.core": "4.0.1", "hl7.terminology.r4": "6.0.0"})  # fmt: skip
    first = run("install", str(file))
    assert {name: first[name] for name in ("name", "version", "stored", "unchanged", "built_in", "missing")} == {
        "name": "example.test", "version": "1.0.0", "stored": 2, "unchanged": 0, "built_in": 1,
        "missing": ["hl7.terminology.r4#6.0.0"],
    }  # fmt: skip
    assert list(first["refused"]) == ["ValueSet http://example.org/b"]
    assert "ValueSet.status" in first["refused"]["ValueSet http://example.org/b"]
    again = run("install", str(file))
    assert (again["stored"], again["unchanged"]) == (0, 2)
    [listed] = run("list")["packages"]
    assert (listed["package"], listed["version"], listed["resources"]) == ("example.test", "1.0.0", 2)
    newer = packed(tmp_path / "b.tgz", {**GENDER, "version": "2.0.0"}, VALUE_SET, version="2.0.0")
    assert run("install", str(newer))["stored"] == 1
    with pytest.raises(NotFound, match=r"installed: 1\.0\.0, 2\.0\.0"):
        run("remove", "example.test")
    assert run("remove", "example.test@1.0.0")["deleted"] == 1
    assert run("remove", "example.test") == {"name": "example.test", "version": "2.0.0", "deleted": 2}
    assert run("list") == {"packages": []}
    assert run("install", str(file))["stored"] == 2


def test_a_package_for_another_edition_is_refused(run: Any, tmp_path: Path) -> None:
    with pytest.raises(Unprocessable, match=r"is for FHIR 5\.0\.0"):
        run("install", str(packed(tmp_path / "a.tgz", GENDER, fhirVersions=["5.0.0"])))
    assert run("list") == {"packages": []}


@pytest.mark.parametrize(
    ("body", "error"),
    [(b"", BadRequest), (b"not a package", BadRequest), (b"\x1f\x8b\x08\x00" + b"\x00" * 40, BadRequest)],
)
def test_what_is_no_package(tmp_path: Path, body: bytes, error: type[HutongError]) -> None:
    file = tmp_path / "x.tgz"
    file.write_bytes(body)
    with pytest.raises(error):
        package.manifest(file)
    with pytest.raises(BadRequest, match="There is no file"):
        package.manifest(tmp_path / "none.tgz")


def test_links_and_large_files_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.tgz"
    with tarfile.open(file, "w:gz") as archive:
        link = tarfile.TarInfo("package/package.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(BadRequest, match=r"no package/package\.json"):
        package.manifest(file)
    whole = packed(tmp_path / "y.tgz", GENDER)
    monkeypatch.setattr(package, "_LARGEST", 100)
    with pytest.raises(TooLarge):
        list(package.resources(whole))


class Registry(BaseHTTPRequestHandler):
    """A registry of one package."""

    def __init__(self, file: Path, shown: dict[str, str], *arguments: Any) -> None:
        self._file, self._shown = file, shown
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """The list of versions, or the package."""
        url = f"http://{self.headers['host']}/package.tgz"
        listed = {"dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": {"dist": {"tarball": url, **self._shown}}}}
        known = {"/example.test": json.dumps(listed).encode(), "/package.tgz": self._file.read_bytes()}
        body = known.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("content-length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing."""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    file = packed(tmp_path / "r.tgz", GENDER)
    shown: dict[str, str] = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Registry, file, shown))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HUTONG_PACKAGE_REGISTRY", f"http://127.0.0.1:{server.server_address[1]}")
    shown["integrity"] = "sha512-" + base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode()
    yield shown
    server.shutdown()
    server.server_close()


def test_packages_come_from_a_registry(run: Any, registry: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("install", "example.test@1.0.0")["stored"] == 1
    assert run("install", "example.test")["unchanged"] == 1
    with pytest.raises(NotFound, match=r"no example\.test@9; it has 1\.0\.0"):
        run("install", "example.test@9")
    with pytest.raises(NotFound):
        run("install", "example.other")
    with pytest.raises(BadRequest):
        run("install", "../etc@1")
    registry["integrity"] = "sha512-" + base64.b64encode(b"x" * 64).decode()
    with pytest.raises(Unavailable, match="checksum"):
        run("install", "example.test")
    # Off loopback the guard lets nobody lead us to it.
    monkeypatch.setenv("HUTONG_NOTIFY_LOOPBACK", "false")
    with pytest.raises(HutongError, match="not one that this server calls"):
        run("install", "example.test")


def test_a_name_of_a_base_is_not_taken_twice(run: Any, tmp_path: Path) -> None:
    other = {**GENDER, "url": BASE + "other"}
    assert run("install", str(packed(tmp_path / "a.tgz", GENDER, other)))["stored"] == 2
