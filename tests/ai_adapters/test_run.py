"""From pixels to Findings with the shipped bundle on a small chest."""

import zlib
from datetime import UTC, datetime

import numpy as np
import pytest

from ai_adapters.registry import registry
from ai_adapters.run import run
from ai_adapters.volume import UnusableSeries, Volume, load
from dicom_sr.findings import Findings
from tests.ai_adapters.chest import SPACING, chest
from tests.ai_adapters.series import FRAME, STUDY, series

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ORIGIN = (-120.0, -110.0, -50.0)
#: (z, y, x) mm of the grid, diameter: one free in the left lung, one on a vessel in the right lung.
NODULES = [((64.0, 130.0, 166.0), 14.0), ((70.0, 114.0, 70.0), 11.0)]


@pytest.fixture(scope="module")
def volume() -> Volume:
    return load(series(chest(NODULES), SPACING, origin=ORIGIN))


@pytest.fixture(scope="module")
def findings(volume: Volume) -> Findings:
    return run(
        registry().get("nodule_detection"),
        volume,
        identify=lambda center, index: (f"Nodule {index + 1}", f"2.25.{round(center[0] + 1000)}"),
        timestamp=NOW,
        key="0f" * 32,
        threads=2,
    )


def nearest(findings: Findings, nodule: tuple[tuple[float, float, float], float]):
    """The finding nearest to a nodule, and how far it is off (mm)."""
    (z, y, x), _ = nodule
    place = np.array([x + ORIGIN[0], y + ORIGIN[1], z + ORIGIN[2]])
    return min(
        ((np.linalg.norm(np.array(f.center_mm) - place), f) for f in findings.findings), key=lambda each: each[0]
    )


@pytest.mark.parametrize("nodule", NODULES)
def test_nodules_are_found_where_they_are_and_measured(findings: Findings, nodule) -> None:
    away, found = nearest(findings, nodule)
    assert away < 2.5
    sizes = {item.concept.meaning: item.value for item in found.measurements}
    assert sizes["Long Axis"] == pytest.approx(nodule[1], abs=3)
    assert sizes["Short Axis"] <= sizes["Diameter"] <= sizes["Long Axis"]
    # A leak along the vessel would be many times the ball.
    assert sizes["Volume"] == pytest.approx(np.pi / 6 * nodule[1] ** 3, rel=0.5)
    assert {item.unit.value for item in found.measurements} == {"mm", "mm3"}


def test_sides_are_the_patients(findings: Findings) -> None:
    assert [nearest(findings, nodule)[1].laterality.meaning for nodule in NODULES] == ["Left", "Right"]


def test_graphics_lie_on_the_largest_slice(findings: Findings, volume: Volume) -> None:
    _, found = nearest(findings, NODULES[0])
    image = found.region.image
    where = [source.sop_instance_uid for source in volume.sources].index(image.sop_instance_uid)
    assert abs(where * SPACING[0] - NODULES[0][0][0]) <= 4
    assert found.region.points[0] == found.region.points[-1]
    long = next(item for item in found.measurements if item.concept.value == "103339001")
    (x1, y1), (x2, y2) = long.region.points
    assert np.hypot(x2 - x1, y2 - y1) * SPACING[1] == pytest.approx(long.value, abs=0.06)
    middle = ((x1 + x2) / 2 - 0.5) * SPACING[2], ((y1 + y2) / 2 - 0.5) * SPACING[1]
    assert middle == pytest.approx((NODULES[0][0][2], NODULES[0][0][1]), abs=3)


def test_masks_lie_in_the_source_grid(findings: Findings, volume: Volume) -> None:
    _, found = nearest(findings, NODULES[0])
    bits = np.unpackbits(np.frombuffer(zlib.decompress(found.mask.bits), dtype=np.uint8))
    box = bits[: np.prod(found.mask.shape)].reshape(found.mask.shape)
    middle = np.argwhere(box).mean(axis=0) + found.mask.origin
    assert volume.to_patient(middle) == pytest.approx(found.center_mm, abs=2)
    sizes = {item.concept.meaning: item.value for item in found.measurements}
    assert box.sum() * np.prod(SPACING) == pytest.approx(sizes["Volume"], rel=0.35)


def test_the_report_names_its_study_model_and_parameters(findings: Findings) -> None:
    manifest = registry().get("nodule_detection").manifest
    assert (findings.study_instance_uid, findings.frame_of_reference_uid) == (STUDY, FRAME)
    assert (findings.key, findings.timestamp, len(findings.sources)) == ("0f" * 32, NOW, 64)
    assert findings.algorithm.device_uid == manifest.device_uid
    assert findings.algorithm.digest == manifest.model_digest
    assert dict(findings.algorithm.parameters)["threshold"] == f"{manifest.report:g}"
    assert dict(findings.algorithm.parameters)["execution provider"].endswith("ExecutionProvider")
    confidences = [found.confidence for found in findings.findings]
    assert confidences == sorted(confidences, reverse=True)
    assert min(confidences) >= manifest.report


def test_a_volume_without_lungs_is_refused() -> None:
    empty = load(series(np.full((40, 64, 64), 40, dtype=np.int16), SPACING))
    with pytest.raises(UnusableSeries, match="no lungs"):
        run(registry().get("nodule_detection"), empty, identify=lambda c, i: ("", ""), timestamp=NOW, key="")
