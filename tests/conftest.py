"""Fixtures that every test may use: settings in a fresh folder, and an empty, migrated database."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from server.settings import Settings
from server.store.database import Database
from server.store.embedded import EmbeddedPostgres
from server.store.migrate import upgrade

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One PostgreSQL for all tests of this process; its database ``hutong`` is the migrated template."""
    embedded = EmbeddedPostgres(tmp_path_factory.mktemp("cluster"), durable=False)
    url = embedded.start()
    template = Database(url)
    upgrade(template)
    template.close()
    yield embedded
    embedded.stop()


@pytest.fixture
def database_url(cluster: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database of its own, copied from the template."""
    admin = cluster.url.replace("///hutong?", "///postgres?")
    name = f"test_{abs(hash(request.node.nodeid)):x}"
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"create database {name} template hutong strategy file_copy")  # type: ignore[arg-type]
    yield cluster.url.replace("///hutong?", f"///{name}?")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")  # type: ignore[arg-type]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An empty, migrated database."""
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose data folder is the test's own."""
    return Settings(data=tmp_path / "data", study_quiet=0.5)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of annotated CTs, third-party SRs and vectors; the test is skipped, visibly, where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the data folder ../shared/data is not here")
    return SHARED
