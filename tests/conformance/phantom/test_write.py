"""The phantom on disk: geometry and values survive, UIDs follow the wishes, validators are content."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from highdicom.sr import MeasurementReport, srread

from conformance.phantom.__main__ import main
from conformance.phantom.make import Wishes, plan, render
from conformance.phantom.nodules import parse
from conformance.phantom.write import make, make_npz

WISHES = Wishes(
    seed=11, matrix=96, spacing=6.0, nodules=(parse("15:solid:none~300"), parse("10:ground-glass:vessel~0"))
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom")
    make(out, WISHES, prior_days=300)
    return out


def test_positions_and_values_come_back_as_they_were_made(folder: Path) -> None:
    study = plan(WISHES)[0]
    images = [pydicom.dcmread(p) for p in (folder / "current").glob("IM*.dcm")]
    images.sort(key=lambda d: float(d.ImagePositionPatient[2]))
    grid = study.scan.grid
    assert len(images) == grid.shape[0]
    assert [float(d.ImagePositionPatient[2]) for d in images] == pytest.approx(grid.axis(0).tolist(), abs=1e-3)
    assert [float(v) for v in images[0].ImagePositionPatient] == pytest.approx(grid.origin, abs=1e-3)
    assert [float(v) for v in images[0].PixelSpacing] == pytest.approx(grid.spacing[1:], abs=1e-6)
    hu = np.stack([d.pixel_array * float(d.RescaleSlope) + float(d.RescaleIntercept) for d in images])
    assert np.array_equal(hu, render(study).hu)
    assert images[0].InstanceNumber > images[-1].InstanceNumber


def test_both_dates_have_one_patient_and_the_same_tracking_uids(folder: Path) -> None:
    truths = [json.loads((folder / name / "truth.json").read_text()) for name in ("current", "prior")]
    assert truths[0]["study_uid"] != truths[1]["study_uid"]
    assert [n["tracking_uid"] for n in truths[0]["nodules"]] == [n["tracking_uid"] for n in truths[1]["nodules"]]
    assert truths[0]["nodules"][0]["volume_mm3"] == pytest.approx(2 * truths[1]["nodules"][0]["volume_mm3"], rel=0.06)
    heads = [pydicom.dcmread(next((folder / name).glob("IM*.dcm"))) for name in ("current", "prior")]
    assert heads[0].PatientID == heads[1].PatientID
    assert heads[0].PatientBirthDate == heads[1].PatientBirthDate
    assert heads[0].StudyDate > heads[1].StudyDate


def test_uids_follow_the_wishes_unless_fresh_ones_are_asked_for(folder: Path, tmp_path: Path) -> None:
    known = json.loads((folder / "current" / "truth.json").read_text())
    again = make_npz(tmp_path / "again.npz", WISHES)
    fresh = make(tmp_path / "fresh", WISHES, fresh=True)[0]
    assert again == known
    assert fresh["study_uid"] != known["study_uid"]
    assert [n["center_mm"] for n in fresh["nodules"]] == [n["center_mm"] for n in known["nodules"]]


def test_the_truth_report_says_what_the_truth_says(folder: Path) -> None:
    truth = json.loads((folder / "current" / "truth.json").read_text())
    report = srread(folder / "current" / "truth_sr.dcm")
    content = report.content
    assert isinstance(content, MeasurementReport)
    groups = content.get_planar_roi_measurement_groups()
    assert [str(g.tracking_uid) for g in groups] == [n["tracking_uid"] for n in truth["nodules"]]
    for group, nodule in zip(groups, truth["nodules"], strict=True):
        values = {m.name.meaning: m.value for m in group.get_measurements()}
        assert values == pytest.approx({"Diameter": nodule["diameter_mm"], "Volume": nodule["volume_mm3"]})
        center = group.roi.value[0] if hasattr(group, "roi") and group.roi is not None else None
        column = (nodule["center_mm"][0] - truth["origin_mm"][0]) / truth["spacing_mm"][2] + 0.5
        assert center is not None
        assert center[0] == pytest.approx(column, abs=0.01)


@pytest.mark.peer
def test_dciodvfy_finds_no_error(folder: Path) -> None:
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy (dicom3tools) is not installed")
    for name in ("current/IM0003.dcm", "prior/IM0010.dcm", "current/truth_sr.dcm", "prior/truth_sr.dcm"):
        done = subprocess.run([program, str(folder / name)], capture_output=True, text=True, timeout=60)
        errors = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
        assert errors == []


def test_the_command_writes_archives_for_consecutive_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--format",
        "npz",
        "--seed",
        "3",
        "--count",
        "2",
        "--matrix",
        "64",
        "--spacing",
        "8",
        "--nodules",
        "12",
        "--json",
    ]
    assert main([str(tmp_path), *arguments]) == 0
    printed = json.loads(capsys.readouterr().out)
    for seed, truth in zip((3, 4), printed, strict=True):
        with np.load(tmp_path / f"{seed:06d}.npz") as archive:
            assert archive["hu"].dtype == np.int16
            assert archive["hu"].shape == archive["label"].shape == archive["lung"].shape == tuple(truth["shape"])
            assert archive["centers"][0].tolist() == truth["nodules"][0]["center_mm"]
            assert json.loads(str(archive["truth"])) == truth


def test_a_study_without_nodules_has_images_and_an_empty_truth(tmp_path: Path) -> None:
    assert main([str(tmp_path), "--nodules", "none", "--matrix", "64", "--spacing", "10"]) == 0
    truth = json.loads((tmp_path / "truth.json").read_text())
    assert truth["nodules"] == []
    assert len(list(tmp_path.glob("IM*.dcm"))) == truth["shape"][0]
    assert not (tmp_path / "truth_sr.dcm").exists()


def test_the_command_says_what_is_wrong_with_a_nodule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--nodules", "99"]) == 2
    assert "2 to 30 mm" in capsys.readouterr().err
