"""The commands that keep an archive, as an operator runs them."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from server.cli.commands import application
from server.imaging.remove import Remover
from server.security.access import system
from server.store.database import Database

Make = Callable[..., bytes]


@pytest.fixture
def run(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """Runs a command on the test's own database and data folder."""
    monkeypatch.setenv("HUTONG_DATABASE_URL", database_url)
    monkeypatch.setenv("HUTONG_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HUTONG_DISK_RESERVE", "0")

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(application(), [str(argument) for argument in arguments], catch_exceptions=False)

    yield invoke


def told(result: Result) -> Any:
    return json.loads(result.stdout)


@pytest.fixture
def media(tmp_path: Path, make_instance: Make) -> Path:
    folder = tmp_path / "media"
    for study in range(3):
        (folder / f"{study}").mkdir(parents=True)
        for number in range(1, 5):
            file = make_instance(number, study=f"1.2.{study}", PatientID=f"P{study}")
            (folder / f"{study}" / f"{number}").write_bytes(file)
    return folder


@pytest.mark.parametrize("readers", ["1", "2"])
def test_from_import_to_export(run: Callable[..., Result], media: Path, tmp_path: Path, readers: str) -> None:
    first = run("import", media, "--readers", readers, "--json")
    assert first.exit_code == 0 and told(first)["stored"] == 12
    (media / "bad").write_bytes(bytes(128) + b"DICM")
    again = run("import", media, "--readers", readers, "--json")
    assert again.exit_code == 1
    assert (told(again)["stored"], told(again)["skipped"]) == (0, 12)
    assert [Path(one["file"]).name for one in told(again)["refusals"]] == ["bad"]
    assert "1 refused" in run("import", media, "--readers", "1").stdout
    out = run("export", tmp_path / "out", "--match", "PatientID=P1", "--json")
    assert out.exit_code == 0 and told(out)["written"] == 4
    assert (tmp_path / "out" / "DICOMDIR").is_file()
    assert run("export", tmp_path / "x.zip", "--transfer-syntax", "RLELossless").exit_code == 0


def test_verify_names_damage_and_gc_frees_what_was_deleted(
    run: Callable[..., Result], media: Path, tmp_path: Path, database: Database
) -> None:
    run("import", media, "--readers", "1")
    sound = run("verify", "--json")
    assert sound.exit_code == 0 and told(sound)["instances"] == 12
    assert told(run("verify", "--since", "1", "--json"))["packs"] == 0
    Remover(database).remove(system(), "1.2.0")
    Remover(database).remove(system(), "1.2.1")
    size = sum(path.stat().st_size for path in (tmp_path / "data").rglob("*.pack"))
    freed = [told(run("gc", "--grace", "0", "--json"))["collected"]["freed"] for _ in range(2)]
    assert sum(freed) == size
    assert run("verify").exit_code == 0
    (pack,) = (tmp_path / "data").rglob("*.pack")
    data = bytearray(pack.read_bytes())
    data[300] ^= 1
    pack.write_bytes(data)
    damaged = run("verify", "--json")
    assert damaged.exit_code == 1
    (problem,) = told(damaged)["problems"]
    assert problem["kind"] == "changed" and problem["cure"]


def test_locks_and_retention(run: Callable[..., Result], media: Path, tmp_path: Path, database: Database) -> None:
    run("import", media, "--readers", "1")
    with database.unit_of_work() as uow:
        uow.driver.execute("update study_activity set last_seen = last_seen - interval '2 days'")
    config = tmp_path / "rules.toml"
    config.write_text('[[retention]]\nname = "old"\ndays = 100\nmatch = "PatientID=P1"\n')
    assert run("lock", "add", "1.2.1", "--reason", "trial").exit_code == 0
    assert [one["study"] for one in told(run("lock", "list", "--json"))] == ["1.2.1"]
    assert told(run("retention", "--config", config, "--json"))["studies"] == []
    assert run("lock", "remove", "1.2.1").exit_code == 0
    dry = told(run("retention", "--config", config, "--json"))
    assert [one["study"] for one in dry["studies"]] == ["1.2.1"] and not dry["applied"]
    assert told(run("retention", "--config", config, "--apply", "--json"))["applied"]
    assert told(run("retention", "--config", config, "--json"))["studies"] == []


def test_an_import_that_is_killed_goes_on_and_nothing_is_lost_or_doubled(
    run: Callable[..., Result], tmp_path: Path, database: Database, make_instance: Make
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(800):
        (folder / f"{number}").write_bytes(make_instance(number))
    process = subprocess.Popen([sys.executable, "-m", "server", "import", str(folder), "--readers", "2"])
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        with database.unit_of_work() as uow:
            if uow.driver.execute("select 1 from instance limit 1").fetchone():
                break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    result = told(run("import", folder, "--readers", "1", "--json"))
    assert result["stored"] + result["already"] + result["skipped"] == 800 and not result["refused"]
    with database.unit_of_work() as uow:
        assert uow.driver.execute("select count(*), sum(1) from instance").fetchone() == (800, 800)
    for _ in range(2):
        run("gc", "--grace", "0")
    assert run("verify", "--json").exit_code == 0


def test_clearing_up_beside_an_import_loses_nothing(
    run: Callable[..., Result], tmp_path: Path, database: Database, make_instance: Make
) -> None:
    """Importing, clearing up without grace and deleting, each in processes of its own."""
    for study in range(3):
        (tmp_path / f"{study}").mkdir()
        for number in range(120):
            file = make_instance(number, study=f"1.2.{study}", PatientID=f"P{study}")
            (tmp_path / f"{study}" / f"{number}").write_bytes(file)
    run("import", tmp_path / "0", "--readers", "1")
    command = [sys.executable, "-m", "server"]
    imports = [
        subprocess.Popen([*command, "import", str(tmp_path / f"{n}"), "--readers", "2"], stdout=subprocess.DEVNULL)
        for n in (1, 2)
    ]
    for number in range(0, 120, 2):
        Remover(database).remove(system(), "1.2.0", "1.2.0.1", f"1.2.0.1.{number}")
        if number == 60:
            assert subprocess.run([*command, "gc", "--grace", "0", "--json"], stdout=subprocess.DEVNULL).returncode == 0
    assert [process.wait(120) for process in imports] == [0, 0]
    for _ in range(2):
        assert run("gc", "--grace", "0").exit_code == 0
    verified = run("verify", "--json")
    assert verified.exit_code == 0 and told(verified)["instances"] == 300
    with database.unit_of_work() as uow:
        counts = uow.driver.execute("select study, instance_count from study order by 1").fetchall()
    assert counts == [("1.2.0", 60), ("1.2.1", 120), ("1.2.2", 120)]
