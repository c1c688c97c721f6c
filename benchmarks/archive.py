"""What an operator waits for: import of many small files, a second import, verification, deletion, clearing up.

``python -m benchmarks.archive [--files 10000] [--bytes 0]`` makes CT instances below a temporary folder (``--bytes`` of
pixel data each; 0 for tiny ones) and prints one JSON object of seconds and rates. fsync is on.
"""

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from server.app.archive import open_archive
from server.imaging.remove import Remover
from server.security.access import system
from server.settings import Settings
from server.store.embedded import EmbeddedPostgres

#: Instances of one study.
_STUDY = 500


def make(folder: Path, files: int, pixels: int) -> None:
    """Writes the instances, a folder for each study."""
    template = _instance(0, pixels)
    for number in range(files):
        study = number // _STUDY
        place = folder / f"ST{study:05d}"
        place.mkdir(parents=True, exist_ok=True)
        template.SOPInstanceUID = template.file_meta.MediaStorageSOPInstanceUID = f"1.2.{study}.1.{number}"
        template.StudyInstanceUID, template.SeriesInstanceUID = f"1.2.{study}", f"1.2.{study}.1"
        template.PatientID, template.InstanceNumber = f"P{study}", number
        out = BytesIO()
        template.save_as(out, enforce_file_format=True)
        (place / f"IM{number:06d}").write_bytes(out.getvalue())


def _instance(number: int, pixels: int) -> Dataset:
    side = max(8, int((pixels / 2) ** 0.5))
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage
    dataset.PatientName, dataset.StudyDate, dataset.Modality = "Bench^Mark", "20240131", "CT"
    dataset.Rows = dataset.Columns = side
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.SamplesPerPixel, dataset.PixelRepresentation, dataset.PhotometricInterpretation = 1, 0, "MONOCHROME2"
    dataset.InstanceNumber = number
    dataset.PixelData = os.urandom(2 * side * side) if pixels else struct.pack("<64H", *range(64))
    dataset["PixelData"].VR = "OW"
    return dataset


def command(*arguments: str) -> tuple[dict[str, Any], float]:
    """Runs a command of the house; its JSON and the seconds it took from the outside."""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "server", *arguments, "--json"], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout), time.monotonic() - began


def measure(folder: Path, files: int, pixels: int) -> dict[str, Any]:
    """All of it, on one data folder."""
    media, data = folder / "media", folder / "data"
    make(media, files, pixels)
    size = sum(path.stat().st_size for path in media.rglob("IM*"))
    first, first_seconds = command("import", str(media), "--data", str(data))
    second, second_seconds = command("import", str(media), "--data", str(data))
    verified, _ = command("verify", "--data", str(data))
    exported, _ = command("export", str(folder / "out"), "--data", str(data))
    deletion = _delete_half(data, files)
    _, clearing = command("gc", "--grace", "0", "--data", str(data))
    assert first["stored"] == second["skipped"] == verified["instances"] == exported["written"] == files
    return {
        "files": files,
        "bytes": size,
        "import": {
            "seconds": first["seconds"],
            "with start": round(first_seconds, 2),
            "files/s": first["files_per_second"],
        },
        "import again": {"seconds": second["seconds"], "with start": round(second_seconds, 2)},
        "verify MB/s": round(size / 1e6 / verified["seconds"], 1),
        "export files/s": round(files / exported["seconds"], 1),
        "delete instances/s": round(deletion, 1),
        "gc seconds": round(clearing, 2),
        "load": os.getloadavg()[0],
    }


def _delete_half(data: Path, files: int) -> float:
    """Deletes every other study; instances a second."""
    embedded = EmbeddedPostgres(data)
    archive = open_archive(Settings(data=data, database_url=embedded.start()))
    began, gone = time.monotonic(), 0
    for study in range(0, -(-files // _STUDY), 2):
        gone += len(Remover(archive.database).remove(system(), f"1.2.{study}").instances)
    rate = gone / (time.monotonic() - began)
    archive.close()
    embedded.stop()
    return rate


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--bytes", type=int, default=0, help="pixel data of each instance")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), arguments.files, arguments.bytes), indent=1))


if __name__ == "__main__":
    main()
