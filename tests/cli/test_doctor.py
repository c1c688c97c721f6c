"""``hutong doctor`` says what is well, and names the cure of what is not."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psycopg
import pytest
from typer.testing import CliRunner

from server.cli import doctor
from server.cli.commands import application
from server.settings import Settings


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_packages_match_their_lock() -> None:
    check = doctor.packages()
    assert check.ok, check.said


def test_package_at_another_version_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements/cpu.lock").write_text(
        "pydicom==0.0.1 \\\n    --hash=sha256:00\nno-such-package==1.0 \\\n    --hash=sha256:00\n"
        "other-platform==1.0 ; sys_platform == 'never' \\\n    --hash=sha256:00\n",
        encoding="utf-8",
    )
    (tmp_path / "pyproject.toml").write_text('dependencies = [\n    "numpy>=2",\n]\n', encoding="utf-8")
    monkeypatch.setattr(doctor, "_ROOT", tmp_path)
    check = doctor.packages()
    assert not check.ok
    assert "not 0.0.1" in check.said
    assert "no-such-package is missing, not 1.0" in check.said
    assert "other-platform" not in check.said
    assert "requirements/cpu.lock" in check.cure


def test_every_codec_brings_the_pixels_back() -> None:
    check = doctor.codecs()
    assert check.ok, check.said
    assert "HTJ2K" in check.said


def test_codec_that_brings_back_other_pixels_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = doctor._same(lambda image: b"", lambda encoded: np.zeros((32, 32), np.uint16))
    monkeypatch.setitem(doctor._CODECS, "JPEG-LS", zeros)
    check = doctor.codecs()
    assert not check.ok
    assert "JPEG-LS (other pixels came back)" in check.said


def test_missing_execution_provider_is_a_problem(settings: Settings) -> None:
    assert doctor.execution_providers(settings).ok
    check = doctor.execution_providers(replace(settings, providers=("NoSuchProvider",)))
    assert not check.ok
    assert "NoSuchProvider" in check.said


def test_data_folder(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.data_folder(settings).ok
    assert not settings.data.exists()
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert not doctor.data_folder(replace(settings, data=tmp_path / "file")).ok
    monkeypatch.setattr(doctor, "_LOWEST_FREE_BYTES", 1 << 62)
    assert "Free some space" in doctor.data_folder(settings).cure


def test_port_of_another_program_is_a_problem(settings: Settings, taken: int) -> None:
    check = doctor.port(replace(settings, http_port=taken), "http_port")
    assert not check.ok
    assert "--http-port" in check.cure


def test_port_is_well_while_our_server_holds_the_folder(settings: Settings, taken: int) -> None:
    settings.data.mkdir()
    with (settings.data / "serve.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert doctor.port(replace(settings, dimse_port=taken), "dimse_port").ok
    assert not doctor.port(replace(settings, dimse_port=taken), "dimse_port").ok


def test_postgres_starts_here() -> None:
    if os.geteuid() == 0:
        assert doctor.user_namespace().ok
    check = doctor.embedded_postgres()
    assert check.ok, check.said
    assert check.said.startswith("18")


def test_database_with_this_versions_schema(settings: Settings, database_url: str) -> None:
    check = doctor.database(replace(settings, database_url=database_url))
    assert check.ok, check.said
    assert "schema" in check.said


def test_database_of_another_version_is_a_problem(settings: Settings, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("update alembic_version set version_num = 'from-the-future'")
    check = doctor.database(replace(settings, database_url=database_url))
    assert not check.ok
    assert "from-the-future" in check.said


def test_database_that_does_not_answer_is_a_problem(settings: Settings) -> None:
    check = doctor.database(replace(settings, database_url=f"postgresql://nobody@127.0.0.1:{_free_port()}/none"))
    assert not check.ok
    assert "HUTONG_DATABASE_URL" in check.cure


def test_exit_status_says_whether_there_is_a_problem(
    settings: Settings, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> tuple[int, dict[str, object]]:
        done = CliRunner().invoke(application(), ["doctor", "--data", str(settings.data), "--json"])
        return done.exit_code, json.loads(done.stdout)

    monkeypatch.setenv("HUTONG_HTTP_PORT", str(_free_port()))
    monkeypatch.setenv("HUTONG_DIMSE_PORT", str(_free_port()))
    code, said = run()
    assert (code, said["ok"]) == (0, True), said
    monkeypatch.setenv("HUTONG_HTTP_PORT", str(taken))
    code, said = run()
    assert (code, said["ok"]) == (1, False)
    assert [check["name"] for check in said["checks"] if not check["ok"]] == ["HTTP port"]  # type: ignore[attr-defined,index]
