"""The server with all its services on a port of its own, and dcmtk's tools called at it."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from server.app.dimse import offers
from server.app.parts import Parts, compose
from server.dimse.server import DimseServer
from server.imaging.ingest import Received
from server.security.access import system
from server.settings import Peer, Settings


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} (dcmtk) is not installed")
    return found


def run(name: str, *arguments: str) -> str:
    done = subprocess.run([tool(name), *arguments], capture_output=True, timeout=60, check=False)
    return (done.stdout + done.stderr).decode("utf-8", "replace")


class Serving:
    """The server and its parts."""

    def __init__(self, parts: Parts, server: DimseServer) -> None:
        self.parts, self.server = parts, server
        self.where = ("-aet", "TESTER", "-aec", "HUTONG", "127.0.0.1", str(server.port))

    def put(self, *files: bytes) -> None:
        assert not self.parts.ingest.receive(system(), [Received(chunks=[file]) for file in files]).refused


@contextmanager
def serving(settings: Settings, database_url: str, peers: Sequence[Peer] = (), *, port: int = 0) -> Iterator[Serving]:
    """The server, running."""
    parts = compose(replace(settings, database_url=database_url, dimse_port=port, peers=tuple(peers)))
    server = DimseServer(parts.settings, parts.ingest, offers(parts))
    server.start()
    try:
        yield Serving(parts, server)
    finally:
        server.stop()
        parts.pool.close()
        parts.database.close()


def copy_study(driver: psycopg.Connection[Any], count: int) -> None:
    """More rows of the one study, without instances."""
    driver.execute(
        "insert into study (tenant, study, patient, study_date, study_time, attributes, series_count, instance_count) "
        "select tenant, '1.2.99.' || n, patient, study_date, study_time, "
        "convert_to(replace(convert_from(attributes, 'UTF8'), '\"1.2.3\"', '\"1.2.99.' || n || '\"'), 'UTF8'), 1, 1 "
        "from study, generate_series(1, %s) as n where study = '1.2.3'",
        (count,),
    )
