"""Every transfer syntax in pydicom's files, and HTJ2K: given back bit by bit, whole and frame by frame."""

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import httpx
import imagecodecs
import numpy as np
import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from pydicom.data import get_testdata_file
from pydicom.data.data_manager import DATA_ROOT
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import HTJ2KLossless

Make = Callable[..., bytes]
ANY = "multipart/related; type=application/octet-stream; transfer-syntax=*"
NATIVE = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"}
#: Cut off, or without a transfer syntax; every other file must be taken.
REFUSED = {"MR_truncated.dcm", "rtplan_truncated.dcm", "meta_missing_tsyntax.dcm"}
_IDENTITY = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "SOPInstanceUID": "1.2.3.4", "StudyInstanceUID": "1.2.3"}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def _files() -> Iterator[tuple[str, bytes]]:
    """The files that lie in pydicom's own package, by name; those that lack UIDs get some."""
    for path in sorted(Path(DATA_ROOT, "test_files").glob("*.dcm")):
        file = path.read_bytes()
        if file[128:132] == b"DICM":
            yield path.name, file if path.name in REFUSED else _identified(file)


def _identified(file: bytes) -> bytes:
    dataset = pydicom.dcmread(BytesIO(file))
    missing = {k: v for k, v in {**_IDENTITY, "SeriesInstanceUID": "1.2.3.1"}.items() if not dataset.get(k)}
    if not missing:
        return file
    for keyword, value in missing.items():
        setattr(dataset, keyword, value)
    out = BytesIO()
    dataset.save_as(out)
    return out.getvalue()


@pytest.fixture
def url(dicomweb_url: str) -> str:
    return dicomweb_url


def stow(url: str, file: bytes) -> tuple[bool, str]:
    """Whether it was taken, and where it is."""
    answer = httpx.post(f"{url}/studies", content=file, headers={"Content-Type": "application/dicom"}, timeout=60)
    if answer.status_code != 200:
        assert answer.status_code == 409 and "warning" in answer.headers
        return False, answer.headers["warning"]
    (stored,) = answer.json()["00081199"]["Value"]
    return True, stored["00081190"]["Value"][0]


def remove(place: str) -> None:
    """Some of pydicom's files are one instance in several transfer syntaxes, of which the first is kept."""
    assert httpx.delete(place, headers={"scopes": "read write delete"}).status_code == 204


def test_every_file_comes_back_bit_by_bit(url: str) -> None:
    seen: set[str] = set()
    refused: set[str] = set()
    for name, file in _files():
        taken, place = stow(url, file)
        if not taken:
            refused.add(name)
            continue
        answer = httpx.get(place, headers={"Accept": "application/dicom; transfer-syntax=*"})
        assert answer.content == file, name
        remove(place)
        seen.add(str(pydicom.dcmread(BytesIO(file), stop_before_pixels=True).file_meta.TransferSyntaxUID))
    assert refused == REFUSED
    assert seen >= {
        *NATIVE,
        *("1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.70"),
        *("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"),
    }


def test_every_frame_comes_back_bit_by_bit(url: str) -> None:
    client, compared = DICOMwebClient(url), 0
    for name, file in _files():
        expected = _frames(pydicom.dcmread(BytesIO(file))) if name not in REFUSED else None
        if expected is None:
            continue
        taken, place = stow(url, file)
        assert taken, name
        study, series, instance = place.split("/")[-5::2]
        numbers = sorted({1, (len(expected) + 1) // 2, len(expected)})
        octets = (("application/octet-stream", "*"),)
        found = client.retrieve_instance_frames(study, series, instance, numbers, media_types=octets)
        assert found == [expected[number - 1] for number in numbers], name
        remove(place)
        compared += 1
    assert compared > 40


def _frames(dataset: pydicom.Dataset) -> list[bytes] | None:
    """The frames by pydicom; None where the header does not fit the pixels, or frames share bytes."""
    try:
        count = int(dataset.get("NumberOfFrames") or 1)
        if "PixelData" not in dataset or not dataset.Rows or not dataset.SamplesPerPixel:
            return None
    except (ValueError, AttributeError):
        return None
    if dataset.file_meta.TransferSyntaxUID.is_compressed and not dataset.file_meta.TransferSyntaxUID.is_deflated:
        return list(generate_frames(dataset.PixelData, number_of_frames=count))
    samples = 2 if dataset.PhotometricInterpretation.endswith("_422") else dataset.SamplesPerPixel
    bits = dataset.Rows * dataset.Columns * samples * dataset.BitsAllocated
    size = bits // 8
    if bits % 8 or size * count > len(dataset.PixelData):
        return None
    data = dataset.PixelData
    if not dataset.file_meta.TransferSyntaxUID.is_little_endian:
        # OW is words, OB is bytes, whatever is allocated for a sample (PS3.5 8.2, annex A.3).
        width = max(dataset.BitsAllocated // 8, 2) if dataset["PixelData"].VR == "OW" else 1
        data = np.frombuffer(data, f">u{width}").astype(f"<u{width}").tobytes()
    return [data[size * number : size * (number + 1)] for number in range(count)]


def test_htj2k_comes_back_bit_by_bit(url: str) -> None:
    source = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    codestream = bytes(imagecodecs.htj2k_encode(source.pixel_array))
    source.PixelData = encapsulate([codestream, codestream])
    source.NumberOfFrames = 2
    source["PixelData"].is_undefined_length = True
    source["PixelData"].VR = "OB"
    source.file_meta.TransferSyntaxUID = HTJ2KLossless
    out = BytesIO()
    source.save_as(out)
    taken, place = stow(url, out.getvalue())
    assert taken
    assert httpx.get(place, headers={"Accept": "application/dicom"}).content == out.getvalue()
    frame = httpx.get(f"{place}/frames/2", headers={"Accept": "image/jphc"})
    assert frame.headers["content-type"] == f"image/jphc; transfer-syntax={HTJ2KLossless}"
    assert frame.content == codestream + b"\0" * (len(codestream) & 1)
    decoded = httpx.get(f"{place}/frames/2", headers={"Accept": "application/octet-stream"})
    assert decoded.content == pydicom.dcmread(get_testdata_file("MR_small.dcm")).PixelData
