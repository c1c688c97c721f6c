"""Programs of other people's read what we write without an error."""

import io
import shutil
import subprocess
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom import Dataset

from dicom_sr.to_fhir import conclusion
from dicom_sr.voxels import unpack
from dicom_sr.write_key_objects import key_images, write_key_objects
from dicom_sr.write_seg import write_seg
from dicom_sr.write_sr import write_sr
from tests.dicom_sr.examples import ct, findings, two_nodules

DATASETS = {
    "sr": lambda: write_sr(two_nodules(), ct()),
    "sr-anonymised": lambda: write_sr(two_nodules(), ct(anonymised=True)),
    "sr-none": lambda: write_sr(findings(), ct()),
    "sr-successor": lambda: write_sr(two_nodules(), ct(), predecessor=write_sr(findings(), ct())),
    "seg": lambda: write_seg(two_nodules(), ct()),
    "seg-anonymised": lambda: write_seg(two_nodules(), ct(anonymised=True)),
    "key-objects": lambda: _key_objects(ct()[0]),
    "key-objects-anonymised": lambda: _key_objects(ct(anonymised=True)[0]),
}


def _key_objects(source: Dataset) -> Dataset:
    report = two_nodules()
    return write_key_objects(
        key_images(report), source, person="Wang^Fang=王^芳", description=conclusion(report), moment=report.timestamp,
        sop_instance_uid="2.25.61", series_instance_uid="2.25.62",
    )  # fmt: skip


def saved(name: str, folder: Path) -> Path:
    dataset = DATASETS[name]()
    assert dataset is not None
    path = folder / f"{name}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.mark.peer
@pytest.mark.parametrize("name", DATASETS)
def test_dciodvfy_finds_no_error(name: str, tmp_path: Path) -> None:
    run = subprocess.run([program("dciodvfy"), str(saved(name, tmp_path))], capture_output=True, text=True)
    assert "Error" not in run.stderr + run.stdout
    assert run.returncode == 0


@pytest.mark.peer
@pytest.mark.parametrize("name", [name for name in DATASETS if name.startswith("sr")])
def test_dsrdump_reads_the_report(name: str, tmp_path: Path) -> None:
    run = subprocess.run([program("dsrdump"), str(saved(name, tmp_path))], capture_output=True, text=True)
    assert run.returncode == 0
    assert "Comprehensive 3D SR Document" in run.stdout
    assert not [line for line in run.stderr.splitlines() if line.startswith("E:")]


def test_highdicom_reads_the_report() -> None:
    report = highdicom.sr.srread(_file(write_sr(two_nodules(), ct())))
    names = [item.name.meaning for item in report.content[0].ContentSequence]
    assert "Imaging Measurements" in names


def test_highdicom_reads_the_segments() -> None:
    seg = write_seg(two_nodules(), ct())
    assert seg is not None
    read = highdicom.seg.segread(_file(seg))
    tracked = {read.get_segment_description(number).tracking_uid for number in (1, 2)}
    assert tracked == {finding.tracking_uid for finding in two_nodules().findings}
    for number, finding in enumerate(two_nodules().findings, 1):
        volume = read.get_volume(segment_numbers=[number])
        assert finding.mask is not None
        assert int(volume.array.sum()) == int(unpack(finding.mask).sum())
        low = np.argwhere(volume.array[..., 0] if volume.array.ndim == 4 else volume.array).min(axis=0)
        position = volume.map_indices_to_reference(low[None, :].astype(float))[0]
        # highdicom counts slices either way: the corner's row and column, and its slice up to that choice.
        assert position[0] == pytest.approx(-24 + finding.mask.origin[2] * 0.75)
        assert position[1] == pytest.approx(-30.5 + finding.mask.origin[1] * 0.75)


def _file(dataset: Dataset) -> io.BytesIO:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return io.BytesIO(buffer.getvalue())


def test_the_file_says_utf_8() -> None:
    dataset = pydicom.dcmread(_file(write_sr(two_nodules(), ct())))
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    assert str(dataset.PatientName) == "Wang^XiaoDong=王^小东"


def test_highdicom_reads_the_key_images() -> None:
    report = two_nodules()
    images, selection = key_images(report), _key_objects(ct()[0])
    read = highdicom.ko.KeyObjectSelectionDocument.from_dataset(pydicom.dcmread(_file(selection)))
    assert read.Modality == "KO"
    found = read.content.get_references()
    assert [item.referenced_sop_instance_uid for item in found] == [one.sop_instance_uid for one in images]
    (observer,) = read.content.get_observer_contexts()
    assert str(observer.observer_identifying_attributes.name) == "Wang^Fang=王^芳"
    assert read.resolve_reference(images[0].sop_instance_uid)[1] == images[0].series_instance_uid
