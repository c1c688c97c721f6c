"""A PostgreSQL that is not ours: on TCP, with a password, as an operator would name it in HUTONG_DATABASE_URL."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from benchmarks.hostile.server import free_port
from server.store import launch
from server.store.embedded import _programs

_PASSWORD = "a secret: with / and @"
_QUOTED = "a%20secret%3A%20with%20%2F%20and%20%40"
#: The oldest that is supported (docs/settings.md).
OLDEST = 15


def programs() -> Path:
    """Debian's PostgreSQL, the oldest that is supported before others; the wheel's where there is none."""
    found = {int(one.name): one / "bin" for one in Path("/usr/lib/postgresql").glob("*") if one.name.isdigit()}
    return found[min(found)] if found and min(found) >= OLDEST else _programs()


@contextmanager
def external_postgres(folder: Path) -> Iterator[str]:
    """The URL of an empty database on a server of its own."""
    port, data = free_port(), folder / "external"
    folder.mkdir(parents=True, exist_ok=True)
    secret = folder / "secret"
    secret.write_text(_PASSWORD, encoding="utf-8")
    subprocess.run(
        [*_run("initdb"), "-D", str(data), "-U", "hutong", "--pwfile", str(secret), "--auth", "scram-sha-256", "-N"],
        check=True, capture_output=True,
    )  # fmt: skip
    with (folder / "external.log").open("wb") as log:
        options = [f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"]
        command = [*_run("postgres"), "-D", str(data), *(part for option in options for part in ("-c", option))]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    url = f"postgresql://hutong:{_QUOTED}@127.0.0.1:{port}"
    try:
        _create(f"{url}/postgres")
        yield f"{url}/hutong"
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(data, ignore_errors=True)


def _run(program: str) -> list[str]:
    return [sys.executable, "-I", "-S", launch.__file__, str(programs() / program)]


def _create(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        with suppress(psycopg.OperationalError), psycopg.connect(url, autocommit=True) as connection:
            connection.execute("create database hutong")
            return
        assert time.monotonic() < deadline, "PostgreSQL did not start"
        time.sleep(0.1)
