"""npm's dcmjs and dicomweb-client, unmodified: store, search, metadata, retrieve, frames, bulk data, rendered."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.peers.conftest import Ours

FOREIGN = Path(__file__).parent.parent / "foreign"
_PNG, _JPEG = "89504e47", "ffd8ff"

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script beside its packages, as the lock file has them."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("foreign")
    for name in ("package.json", "package-lock.json", "client.mjs"):
        shutil.copy(FOREIGN / name, folder)
    subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=folder, check=True, capture_output=True)
    return folder / "client.mjs"


def test_dcmjs_and_dicomweb_client_get_back_what_they_stored(
    ours: Ours, client: Path, make_instance: Callable[..., bytes], tmp_path: Path
) -> None:
    first = make_instance(1, SeriesInstanceUID="1.2.3.1")
    sent = httpx.post(f"{ours.url}/studies", content=first, headers={"Content-Type": "application/dicom"})
    assert sent.status_code == 200
    (tmp_path / "one.dcm").write_bytes(first)
    ran = subprocess.run(
        ["node", str(client), ours.url, str(tmp_path / "one.dcm")], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    said = json.loads(ran.stdout)
    assert said["stored"] == [said["instance"]]
    assert said["studies"] == ["1.2.3"] and said["series"] == ["1.2.3.1"]
    assert set(said["instances"]) == {"1.2.3.1.1", said["instance"]}
    assert said["metadata"] == {"rows": 8, "columns": 8, "uid": said["instance"]}
    assert said["seriesMetadata"] == said["studyMetadata"] == said["wholeSeries"] == said["wholeStudy"] == 2
    assert said["retrieved"] == said["frame"] == said["bulk"] == said["pixels"]
    assert said["rendered"] == said["frameRendered"] == _PNG
    assert said["thumbnail"].startswith(_JPEG) or said["thumbnail"] == _PNG
