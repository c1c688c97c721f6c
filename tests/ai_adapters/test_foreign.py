"""Bundles of an ONNX file and a manifest: the manifests of the documentation, run on real models end to end."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset

from ai_adapters.evaluation.froc import judge
from ai_adapters.evaluation.reading import read_scan
from ai_adapters.evaluation.reference import of_reports
from ai_adapters.foreign import check
from ai_adapters.manifest import BrokenManifest
from ai_adapters.onnx_session import BrokenModel
from ai_adapters.registry import RefusedBundle, add, read_bundle
from ai_adapters.run import run
from ai_adapters.volume import Volume, load
from dicom_sr import codes
from dicom_sr.fhir_elements import Instance
from dicom_sr.findings import Finding, Findings, Measurement
from dicom_sr.read import read as read_report
from dicom_sr.to_fhir import to_fhir
from dicom_sr.write_sr import write_sr
from server.fhir import definitions
from server.fhir.validate import validate
from terminology.private_scheme import BOUNDING_BOX
from tests.ai_adapters.chest import SPACING, chest
from tests.ai_adapters.foreign_models import (
    boxes_of_blocks,
    boxes_of_slices,
    bundle,
    chance_of_block,
    chance_of_slices,
    heat_of_blocks,
)
from tests.ai_adapters.series import patient, series

PAGE = Path(__file__).parents[2] / "docs/quickstart/ai-vendor.md"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
ORIGIN = (-120.0, -110.0, -50.0)
NODULES = [((64.0, 130.0, 166.0), 14.0), ((70.0, 114.0, 70.0), 11.0)]
NODULE = {"value": "27925004", "scheme": "SCT", "meaning": "Nodule"}

#: Those of the page, and two kinds more.
BOXES: dict[str, Any] = {
    "schema": "hutong-adapter/1", "name": "example_boxes", "version": "2", "creator": "Example", "task": "detection",
    "models": {"detector": {"file": "boxes.onnx", "sha256": "0" * 64}},
    "preprocessing": {"spacing_mm": 2.0, "window_hu": [-1000, 400]},
    "tensor": {"size": [32, 64, 64]}, "patches": {"inside": "lungs", "overlap": 0.4},
    "outputs": {"boxes": "boxes", "scores": "scores"}, "thresholds": {"report": 0.6}, "codes": {"finding": NODULE},
}  # fmt: skip
SLICES_CHANCE: dict[str, Any] = {
    "schema": "hutong-adapter/1", "name": "example_slice_chance", "version": "1", "creator": "Example",
    "task": "classification", "models": {"classifier": {"file": "chance.onnx", "sha256": "0" * 64}},
    "tensor": {"layout": "NCHW", "size": [96, 96], "fit": "whole", "repeat": 3},
    "outputs": {"probability": "logits", "activation": "softmax", "class": 1}, "codes": {"finding": NODULE},
}  # fmt: skip


def of_page() -> dict[str, dict[str, Any]]:
    texts = re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert all(text.count("\n") <= 30 for text in texts)
    return {manifest["name"]: manifest for manifest in map(json.loads, texts)}


MODELS = {
    "example_heat": heat_of_blocks,
    "example_slices": boxes_of_slices,
    "example_boxes": boxes_of_blocks,
    "example_classifier": chance_of_block,
    "example_slice_chance": chance_of_slices,
}
MANIFESTS = {**of_page(), "example_boxes": BOXES, "example_slice_chance": SLICES_CHANCE}
IMAGES = patient(series(chest(NODULES), SPACING, origin=ORIGIN))


@pytest.fixture(scope="module")
def volume() -> Volume:
    return load(IMAGES)


def analysed(name: str, volume: Volume, tmp_path: Path) -> Findings:
    """What the bundle says of the volume, after it was found to do what its manifest says."""
    folder = bundle(tmp_path / "given", MANIFESTS[name], MODELS[name]())
    check(read_bundle(folder))
    return run(
        read_bundle(folder),
        volume,
        identify=lambda _, index: (f"Lesion {index + 1}", f"2.25.{index + 1}"),
        timestamp=NOW,
        key="k",
    )


def check_resources(findings: Findings, sr: Dataset) -> None:
    """The resources of the report are sound FHIR."""
    place = Instance(
        study_instance_uid=sr.StudyInstanceUID, series_instance_uid=sr.SeriesInstanceUID,
        sop_instance_uid=sr.SOPInstanceUID, sop_class_uid=sr.SOPClassUID,
    )  # fmt: skip
    made = to_fhir(
        findings, subject={"reference": "Patient/1"}, imaging_study={"reference": "ImagingStudy/1"}, sr=place
    )
    assert {"DiagnosticReport", "Observation", "Device", "Provenance"} <= {one["resourceType"] for one in made}
    assert [issue for one in made for issue in validate(definitions.load(), one) if issue.severity == "error"] == []


def away(finding: Finding, nodule: tuple[tuple[float, float, float], float]) -> float:
    (z, y, x), _ = nodule
    assert finding.center_mm is not None
    return float(np.linalg.norm(np.subtract(finding.center_mm, (x + ORIGIN[0], y + ORIGIN[1], z + ORIGIN[2]))))


def test_the_page_has_the_three_manifests_that_are_run_here() -> None:
    assert set(of_page()) == {"example_heat", "example_slices", "example_classifier"}


@pytest.mark.parametrize("name", ["example_heat", "example_slices", "example_boxes"])
def test_a_foreign_detector_finds_what_is_there(name: str, volume: Volume, tmp_path: Path) -> None:
    findings = analysed(name, volume, tmp_path)
    for nodule in NODULES:
        assert min(away(finding, nodule) for finding in findings.findings) < nodule[1] / 2
    assert len(findings.findings) <= 4
    assert findings.algorithm is not None and findings.algorithm.device_uid.startswith("2.25.")
    for finding in findings.findings:
        sized = {measurement.concept.meaning for measurement in finding.measurements}
        assert sized == (set() if name == "example_heat" else {"Width", "Height", "Depth"})
        assert all(measurement.method == BOUNDING_BOX for measurement in finding.measurements)
        assert finding.mask is None and (finding.region is None) == (name == "example_heat")
        assert finding.confidence is not None and 0.6 <= finding.confidence <= 1
    # Written and read back, every finding keeps its place and what was measured of it.
    written = write_sr(findings, IMAGES)
    check_resources(findings, written)
    back = read_report(written, images=IMAGES)
    for before, after in zip(findings.findings, back.findings, strict=True):
        assert after.center_mm == pytest.approx(before.center_mm, abs=0.01)
        assert after.measurements == before.measurements


@pytest.mark.parametrize("name", ["example_classifier", "example_slice_chance"])
def test_a_foreign_classifier_tells_of_the_series(name: str, volume: Volume, tmp_path: Path) -> None:
    findings = analysed(name, volume, tmp_path / "with")
    (finding,) = findings.findings
    assert finding.center_mm is None and finding.finding == codes.NODULE and finding.confidence is not None
    (comment,) = findings.comments
    assert re.match(r"Nodule: probability (0\.9|1\.0)", comment)
    written = write_sr(findings, IMAGES)
    check_resources(findings, written)
    back = read_report(written, images=IMAGES)
    assert [each.confidence for each in back.findings] == [finding.confidence] and back.comments == (comment,)
    assert finding.region is not None
    shown = [image.sop_instance_uid for image in volume.sources].index(finding.region.image.sop_instance_uid)
    if name == "example_slice_chance":
        assert any(abs(shown * SPACING[0] - z) <= diameter / 2 for (z, _, _), diameter in NODULES)
    # Without the nodules the chance is below the threshold: no finding, and the comment says what it was.
    healthy = load(patient(series(chest([]), SPACING, origin=ORIGIN)))
    nothing = analysed(name, healthy, tmp_path / "without")
    assert nothing.findings == () and re.match(r"Nodule: probability 0\.[0-4]", nothing.comments[0])


def test_a_box_is_as_large_as_the_model_said(volume: Volume, tmp_path: Path) -> None:
    findings = analysed("example_boxes", volume, tmp_path)
    sizes = {m.concept.meaning: m.value for m in findings.findings[0].measurements}
    assert sizes == {"Width": 12.0, "Height": 12.0, "Depth": 12.0}
    region = findings.findings[0].region
    assert region is not None
    (left, top), (right, bottom) = region.points[0], region.points[2]
    assert ((right - left) * SPACING[2], (bottom - top) * SPACING[1]) == pytest.approx((12, 12), abs=0.01)


def test_evaluated_beside_the_reference(volume: Volume, tmp_path: Path) -> None:
    said = replace(
        analysed("example_heat", volume, tmp_path),
        findings=tuple(
            Finding(
                tracking_id="", tracking_uid=f"2.25.{number}", finding=codes.NODULE,
                center_mm=(x + ORIGIN[0], y + ORIGIN[1], z + ORIGIN[2]),
                measurements=(Measurement(concept=codes.DIAMETER, value=diameter, unit=codes.MILLIMETER),),
            )
            for number, ((z, y, x), diameter) in enumerate(NODULES)
        ),
    )  # fmt: skip
    reference = of_reports([said], volume)
    for name in ("example_slices", "example_heat"):
        folder = bundle(tmp_path / name, MANIFESTS[name], MODELS[name]())
        hits = judge(read_scan(read_bundle(folder), "one", volume, reference)).hits
        assert [hit.confidence > 0.6 for hit in hits] == [True, True]
        assert [hit.found is not None and hit.found.diameter_mm is not None for hit in hits] == [
            name == "example_slices"
        ] * 2


def test_where_the_head_comes_first_the_same_is_found(volume: Volume, tmp_path: Path) -> None:
    places = []
    for first in ("feet", "head"):
        manifest = {**BOXES, "tensor": {**BOXES["tensor"], "first_slice": first}}
        folder = bundle(tmp_path / first, manifest, boxes_of_blocks())
        found = run(read_bundle(folder), volume, identify=lambda _, n: (str(n), f"2.25.{n}"), timestamp=NOW, key="k")
        places.append(sorted(finding.center_mm for finding in found.findings if finding.center_mm is not None))
    assert len(places[0]) == len(places[1])
    assert np.abs(np.subtract(places[0], places[1])).max() <= 2.0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tensor": {"layout": "NCHW", "size": [64, 64]}}, r"tensor\.layout: NCHW names 4 axes.*has 5"),
        ({"tensor": {"size": [32, 64, 60]}}, r"tensor\.size: .*W is 64, not 60"),
        ({"tensor": {}}, r"tensor\.size: give the sizes that the model fixes"),
        ({"tensor": {"size": [32, 64, 64], "repeat": 3}}, r"tensor\.repeat.*C is 1, not 3"),
        ({"outputs": {"boxes": "boxes", "scores": "score"}}, r"outputs\.scores: .*'score'; it has boxes, scores"),
        ({"outputs": {"boxes": "scores", "scores": "scores"}}, r"outputs\.boxes: .*expected \(n, 6\)"),
        ({"boxes": {"unit": "share"}}, r"boxes\.unit: values reach .*say voxel"),
        ({"boxes": {"columns": ["z1", "y1", "z2", "y2"]}}, r"boxes\.columns: nothing tells x"),
        ({"outputs": {"heat": "scores"}}, r"outputs\.heat: .*expected the axes NCDHW"),
        ({"outputs": {"boxes": "boxes", "scores": "scores", "class": 4}}, r"outputs\.class: 4, but the output has 1"),
        ({"outputs": {"boxes": "boxes"}}, r"outputs: 'scores' is a required property"),
        ({"outputs": {"probability": "scores"}}, r"outputs: .*'probability' does not go with this task"),
        ({"thresholds": {"known": 0.2}}, r"thresholds: 'known' does not go with this task"),
        ({"tensor": {"layout": "NCHWW"}}, r"tensor\.layout"),
        ({"tensor": {"fit": "whole"}}, r'tensor\.fit: "whole" scales to tensor\.size'),
        ({"preprocessing": {"window_hu": [[-1000, 400], [300, 300]]}}, r"window_hu: the first value must be below"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_place(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    folder = bundle(tmp_path / "given", {**BOXES, **changes}, boxes_of_blocks())
    with pytest.raises((BrokenModel, BrokenManifest), match=says):
        check(read_bundle(folder))


@pytest.mark.parametrize("name", sorted(of_page()))
def test_the_bundles_of_the_page_are_let_in(name: str, tmp_path: Path) -> None:
    added = add(bundle(tmp_path / "given", MANIFESTS[name], MODELS[name]()), tmp_path / "adapters")
    assert added.manifest.name == name
    assert len(list((tmp_path / "adapters" / name).iterdir())) == 2


def test_logits_that_are_taken_for_chances_are_noticed(tmp_path: Path) -> None:
    manifest = {**SLICES_CHANCE, "outputs": {"probability": "logits", "class": 1}}
    with pytest.raises(RefusedBundle, match=r'outputs\.probability: values from .*"activation"'):
        add(bundle(tmp_path / "given", manifest, chance_of_slices()), tmp_path / "adapters")
