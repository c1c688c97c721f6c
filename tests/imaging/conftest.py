"""The ingest door over an empty database and an empty data folder."""

from datetime import UTC

import pytest

from server.imaging.guard import GuardLimits
from server.imaging.ingest import Ingest
from server.security.access import Access, system
from server.settings import Settings
from server.store.database import Database
from server.store.packs import Packs


@pytest.fixture
def packs(settings: Settings) -> Packs:
    return Packs(settings.blobs)


@pytest.fixture
def ingest(database: Database, packs: Packs) -> Ingest:
    return Ingest(database, packs, GuardLimits(), UTC)


@pytest.fixture
def access() -> Access:
    return system()
