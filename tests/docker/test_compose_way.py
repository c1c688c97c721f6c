"""What the compose file says, done without containers: real PostgreSQL, server behind tokens, worker beside it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml

from server.store import launch

ROOT = Path(__file__).parent.parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker/compose.yaml").read_text(encoding="utf-8"))
PASSWORD = "a-password-of-their-own"


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def database_port(tmp_path: Path) -> Iterator[int]:
    """Debian's PostgreSQL, made as the compose file's image makes it: by a password, over TCP."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not programs:
        pytest.skip("Debian's postgresql is not installed")
    folder, cluster, port = programs[-1].parent, tmp_path / "cluster", _free()
    supervised = [sys.executable, "-I", "-S", launch.__file__]
    (tmp_path / "password").write_text(PASSWORD, encoding="utf-8")
    arguments = COMPOSE["services"]["database"]["environment"]["POSTGRES_INITDB_ARGS"].split()
    made = [*supervised, str(folder / "initdb"), "--pgdata", str(cluster), "--username", "hutong", *arguments]
    made += ["--auth", "scram-sha-256", "--pwfile", str(tmp_path / "password"), "--no-sync"]
    subprocess.run(made, check=True, capture_output=True)
    options = [f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"]
    command = [*supervised, str(folder / "postgres"), "-D", str(cluster)]
    for option in options:
        command += ["-c", option]
    with (tmp_path / "postgres.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    url = f"postgresql://hutong:{PASSWORD}@127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while True:
        try:
            with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
                connection.execute("create database hutong")
            break
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, (tmp_path / "postgres.log").read_text(encoding="utf-8")
            time.sleep(0.1)
    yield port
    process.send_signal(signal.SIGINT)
    process.wait(timeout=30)


class House:
    """The compose file's services as processes of this machine."""

    def __init__(self, folder: Path, database_port: int) -> None:
        self.folder = folder
        self.port = _free()
        given = {name: self._said(str(value)) for name, value in COMPOSE["services"]["server"]["environment"].items()}
        given["HUTONG_DATABASE_URL"] = given["HUTONG_DATABASE_URL"].replace(
            "@database:5432", f"@127.0.0.1:{database_port}"
        )
        given |= {"HUTONG_HTTP_PORT": str(self.port), "HUTONG_DIMSE_PORT": str(_free())}
        plain = {name: value for name, value in os.environ.items() if not name.startswith("HUTONG_")}
        self.environment = plain | given | {"PYTHONPATH": str(ROOT)}

    def _said(self, value: str) -> str:
        value = re.sub(r"\$\{POSTGRES_PASSWORD:[^}]*\}", PASSWORD, value)
        return value.replace("/var/lib/hutong", str(self.folder))

    def start(self, *words: str) -> subprocess.Popen[str]:
        """``hutong WORDS``, as the image's entry point starts it."""
        command = [sys.executable, "-m", "server", *words]
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(self, *words: str) -> tuple[int, str, str]:
        """``hutong WORDS`` to its end."""
        process = self.start(*words)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def workers(self) -> int:
        """How many workers the queue knows."""
        with psycopg.connect(self.environment["HUTONG_DATABASE_URL"]) as connection:
            row = connection.execute("select count(*) from procrastinate_workers").fetchone()
        return int(row[0]) if row else 0

    def get(self, path: str, token: str = "") -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", headers=headers, timeout=30).status_code


def _end(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGTERM)
    try:
        process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode


@pytest.mark.peer
def test_services_of_the_compose_file_work_together(tmp_path: Path, database_port: int) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    house = House(folder, database_port)
    serve, work = COMPOSE["services"]["server"]["command"], COMPOSE["services"]["worker"]["command"]

    code, _, said = house.run(*serve)
    assert code == 1
    assert "hutong token create" in said

    code, token, said = house.run("token", "create", "--name", "me", "--scope", "read", "--scope", "write")
    assert code == 0, said
    server = house.start(*serve)
    try:
        assert server.stdout is not None
        ready = server.stdout.readline()
        assert "hutong is ready" in ready, ready
        assert "bearer tokens" in ready
        assert house.get("/livez") == house.get("/readyz") == 200
        assert house.get("/fhir/Patient") == house.get("/dicomweb/studies") == house.get("/") == 401
        assert house.get("/fhir/Patient", token.strip()) == 200
        assert house.get("/", token.strip()) == 200
        before = house.workers()
        worker = house.start(*work)
        deadline = time.monotonic() + 60
        while house.workers() == before:
            assert worker.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert _end(worker) == 0
    finally:
        code = _end(server)
    assert code == 0
    assert not (folder / "postgres").exists(), "the embedded PostgreSQL stays out of it"
