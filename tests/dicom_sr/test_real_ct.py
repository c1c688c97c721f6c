"""Results on a real, anonymised CT: headers as they come, sizes as they are."""

import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset

from dicom_sr.findings import Finding, Findings, ImageReference
from dicom_sr.geometry import plane
from dicom_sr.read import read
from dicom_sr.read_seg import read_seg
from dicom_sr.voxels import pack
from dicom_sr.write_seg import write_seg
from dicom_sr.write_sr import write_sr
from tests.dicom_sr.examples import findings, nodule

pytestmark = [pytest.mark.data, pytest.mark.peer]


def series(shared: Path, patient: str) -> list[Dataset]:
    """The headers in slice order."""
    headers = []
    with tarfile.open(shared / "lidc" / f"{patient}.tar.xz") as archive:
        for member in archive:
            opened = archive.extractfile(member) if member.name.endswith(".dcm") else None
            if opened is not None:
                headers.append(pydicom.dcmread(opened, stop_before_pixels=True))
    return sorted(headers, key=lambda header: float(header.ImagePositionPatient[2]))


def report(headers: list[Dataset], at: int) -> Findings:
    """One ball of 10 mm somewhere in the volume."""
    sources = tuple(
        ImageReference(
            sop_class_uid=str(header.SOPClassUID),
            sop_instance_uid=str(header.SOPInstanceUID),
            series_instance_uid=str(header.SeriesInstanceUID),
        )
        for header in headers
    )
    on = plane(headers[at])
    assert on is not None
    x, y, z = on.to_patient(200.5, 250.5)
    centre = (round(x, 3), round(y, 3), round(z, 3))
    offsets = np.mgrid[-2:3, -8:9, -8:9]
    ball = (offsets[0] * 2.5) ** 2 + ((offsets[1] * on.spacing[0]) ** 2 + (offsets[2] * on.spacing[1]) ** 2) <= 25
    finding: Finding = replace(
        nodule(1, (3, 20, 40), 4), center_mm=centre, region=None, measurements=(), mask=pack(ball, (at - 2, 242, 192))
    )
    first = headers[0]
    return replace(
        findings(finding),
        study_instance_uid=str(first.StudyInstanceUID),
        frame_of_reference_uid=str(first.FrameOfReferenceUID),
        sources=sources,
    )


@pytest.mark.parametrize("patient", ["LIDC-IDRI-0001", "LIDC-IDRI-0003"])
def test_written_validated_and_read_back(shared: Path, patient: str, tmp_path: Path) -> None:
    headers = series(shared, patient)
    assert len(headers) > 100
    found = report(headers, len(headers) // 2)
    sr, seg = write_sr(found, headers), write_seg(found, headers)
    assert seg is not None
    for name, dataset in (("sr", sr), ("seg", seg)):
        path = tmp_path / f"{name}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        program = shutil.which("dciodvfy")
        if program is None:
            pytest.skip("dciodvfy is not installed")
        run = subprocess.run([program, str(path)], capture_output=True, text=True)
        assert "Error" not in run.stderr + run.stdout
        assert run.returncode == 0
    again = read(pydicom.dcmread(tmp_path / "sr.dcm"))
    assert read_seg(pydicom.dcmread(tmp_path / "seg.dcm"), again) == found
