"""A DIMSE server on a port of its own."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC

import pytest

from server.dimse.server import DimseServer
from server.imaging.guard import GuardLimits
from server.imaging.ingest import Ingest
from server.settings import Settings
from server.store.database import Database
from server.store.packs import Packs


@pytest.fixture
def ingest(settings: Settings, database: Database) -> Ingest:
    return Ingest(database, Packs(settings.blobs), GuardLimits(), UTC)


@pytest.fixture
def server(settings: Settings, ingest: Ingest) -> Iterator[DimseServer]:
    started = DimseServer(replace(settings, dimse_port=0), ingest)
    started.start()
    yield started
    started.stop()
