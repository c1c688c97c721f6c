"""Fixtures that every test may use: settings in a fresh folder, and an empty, migrated database."""

import os
import struct
from collections.abc import Callable, Generator, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID

from server.settings import Settings
from server.store.database import Database
from server.store.embedded import EmbeddedPostgres
from server.store.migrate import upgrade

# A loaded machine is slow, not wrong: speed is measured in benchmarks/.
hypothesis_settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("house")

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under CI a test that does not run is a failure: a missing peer must not hide a hole."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped under CI: {report.longrepr}"
    return report


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


@pytest.fixture(scope="session")
def make_instance() -> Callable[..., bytes]:
    """Makes a small, sound CT instance as a Part 10 file; keyword arguments are attributes, None leaves one out."""
    return _make_instance


def _make_instance(
    number: int = 1, *, study: str = "1.2.3", syntax: str = "1.2.840.10008.1.2.1", **attributes: Any
) -> bytes:
    values: dict[str, Any] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "SOPInstanceUID": f"{study}.1.{number}",
        "StudyInstanceUID": study,
        "SeriesInstanceUID": f"{study}.1",
        "PatientID": "P1",
        "PatientName": "Hu^Tong",
        "PatientBirthDate": "19700102",
        "PatientSex": "F",
        "StudyDate": "20240131",
        "StudyTime": "101500",
        "AccessionNumber": "A1",
        "StudyID": "S1",
        "ReferringPhysicianName": "Li^Wei",
        "Modality": "CT",
        "SeriesNumber": 1,
        "InstanceNumber": number,
        "StudyDescription": "Chest CT",
        "BodyPartExamined": "CHEST",
        "Rows": 8,
        "Columns": 8,
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "PixelData": struct.pack("<64H", *range(number, number + 64)),
    } | attributes
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    for keyword, value in values.items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset["PixelData"].VR = "OW"
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()
