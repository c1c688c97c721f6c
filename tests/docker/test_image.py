"""The image and the compose file run what ``./run`` runs.

No container engine is needed, so the image itself is not built here.
"""

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from server.cli.commands import application
from server.settings import Settings

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = (ROOT / "docker/Dockerfile").read_text(encoding="utf-8")
RUN = (ROOT / "run").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker/compose.yaml").read_text(encoding="utf-8"))
GPU: dict[str, Any] = yaml.safe_load((ROOT / "docker/compose.gpu.yaml").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

#: Which extras each lock was made from.
LOCKS = {"cpu": ["cpu"], "gpu": ["gpu"], "test": ["cpu", "test"]}


def _instructions(word: str) -> list[str]:
    joined = DOCKERFILE.replace("\\\n", " ")
    return [line.removeprefix(word).strip() for line in joined.splitlines() if line.startswith(word + " ")]


def _targets() -> set[str]:
    return {line.split(" AS ")[1] for line in _instructions("FROM")}


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_target_installs_the_lock_that_run_installs(target: str) -> None:
    assert target in _targets()
    assert f"COPY --from=packages-{target} /opt/venv /opt/venv" in DOCKERFILE
    stage = DOCKERFILE.split(f"AS packages-{target}\n")[1].split("\nFROM ")[0]
    assert f"COPY requirements/{target}.lock" in stage
    assert f"pip install --no-cache-dir --require-hashes -r /tmp/{target}.lock" in stage
    assert "--require-hashes" in RUN
    assert "lock=requirements/$1.lock" in RUN
    assert 'install "${HUTONG_EXTRA:-cpu}"' in RUN


def test_image_enters_as_run_does() -> None:
    assert _instructions("ENTRYPOINT") == ['["python", "-m", "server"]']
    assert "exec .venv/bin/python -m server" in RUN
    assert _instructions("CMD") == ['["serve"]']


def test_image_carries_every_package_and_only_those() -> None:
    copied = {line.split()[0] for line in _instructions("COPY") if line.endswith(tuple("abcdefghijklmnopqrstuvwxyz"))}
    folders = {path for path in copied if (ROOT / path).is_dir()}
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named = {pattern.rstrip("*") for pattern in setup["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert folders == named | {"requirements"}
    ignored = (ROOT / "docker/Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == named | {
        "pyproject.toml",
        "README.md",
        "requirements",
    }


def test_image_is_not_root_and_says_how_it_is() -> None:
    for target in ("cpu", "gpu"):
        assert DOCKERFILE.split(f"AS {target}\n")[1].split("\nFROM ")[0].rstrip().endswith("USER hutong")
    assert "/livez" in DOCKERFILE.split("HEALTHCHECK")[1].split("ENTRYPOINT")[0]


def _commands() -> set[str]:
    command = typer.main.get_command(application())
    return set(command.commands)  # type: ignore[attr-defined]


def test_services_run_commands_that_exist() -> None:
    assert COMPOSE["services"]["server"]["command"] == ["serve"]
    assert COMPOSE["services"]["worker"]["command"] == ["worker"]
    assert {"serve", "worker", "token"} <= _commands()


def test_every_variable_is_a_setting() -> None:
    settings = {f"HUTONG_{field.name.upper()}" for field in dataclasses.fields(Settings)}
    text = DOCKERFILE + "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docker").glob("*.yaml"))
    used = set(re.findall(r"HUTONG_[A-Z_]+", text))
    assert used
    assert used <= settings


def test_ports_are_the_defaults() -> None:
    defaults = Settings()
    ports = [str(defaults.http_port), str(defaults.dimse_port)]
    assert _instructions("EXPOSE") == [" ".join(ports)]
    assert COMPOSE["services"]["server"]["ports"] == [f"{port}:{port}" for port in ports]
    assert f"127.0.0.1:{defaults.http_port}/livez" in DOCKERFILE


def test_server_and_worker_share_one_truth_behind_tokens() -> None:
    server, worker = COMPOSE["services"]["server"], COMPOSE["services"]["worker"]
    assert server["environment"] == worker["environment"]
    environment = server["environment"]
    url = environment["HUTONG_DATABASE_URL"]
    assert re.match(r"postgresql://hutong:\$\{POSTGRES_PASSWORD:\?[^}]+\}@database:5432/hutong$", url)
    assert Settings(host=environment["HUTONG_HOST"]).tokens_required
    assert server["volumes"] == worker["volumes"] == [f"data:{environment['HUTONG_DATA']}"]
    image, major = COMPOSE["services"]["database"]["image"].split(":")
    assert image == "postgres"
    assert int(re.match(r"\d+", major).group()) >= 15  # type: ignore[union-attr]
    assert GPU["services"]["worker"]["build"]["target"] in _targets()


def _locked(name: str) -> dict[str, list[tuple[Version, str]]]:
    """Package -> (version, marker) pairs of one lock."""
    found: dict[str, list[tuple[Version, str]]] = {}
    for line in (ROOT / f"requirements/{name}.lock").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+?)(?: ; (.*?))? *\\?$", line):
            found.setdefault(canonicalize_name(match[1]), []).append((Version(match[2]), match[3] or ""))
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_lock_satisfies_the_project(name: str) -> None:
    wanted = [Requirement(text) for text in PROJECT["dependencies"]]
    for extra in LOCKS[name]:
        wanted += [Requirement(text) for text in PROJECT["optional-dependencies"][extra]]
    locked = _locked(name)
    for requirement in wanted:
        versions = locked.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement.name} is not in {name}.lock"
        for version, _ in versions:
            assert requirement.specifier.contains(version), f"{requirement} against {version}"


@pytest.mark.parametrize("name", LOCKS)
def test_lock_has_hashes_and_names_no_address(name: str) -> None:
    text = (ROOT / f"requirements/{name}.lock").read_text(encoding="utf-8")
    assert "://" not in text
    assert "index-url" not in text
    entries = re.split(r"\n(?=[A-Za-z0-9])", "\n" + text)[1:]
    assert len(entries) > 40
    for entry in entries:
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_locks_agree_where_they_overlap() -> None:
    cpu, gpu, test = (_locked(name) for name in ("cpu", "gpu", "test"))
    for package in cpu.keys() & gpu.keys():
        assert cpu[package] == gpu[package], package
    for package in cpu.keys() & test.keys():
        assert cpu[package] == test[package], package
