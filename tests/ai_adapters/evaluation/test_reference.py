"""Reference lesions: from reports by several readers, from segments, from graphics."""

from dataclasses import replace

import numpy as np
import pytest

from ai_adapters.evaluation.reference import of_reports
from ai_adapters.evaluation.segment import Segment, agreed, dice, on_grid
from ai_adapters.volume import Volume, load
from dicom_sr import codes
from dicom_sr.findings import Finding, Findings, Measurement, Quality, Region
from dicom_sr.voxels import pack
from terminology.codings import Coding
from tests.ai_adapters.series import series
from tests.dicom_sr.examples import findings as example

IMAGES = series(np.zeros((10, 40, 50), dtype=np.int16), spacing=(2.0, 1.0, 0.5), origin=(0.0, 0.0, 0.0))
DENSITY = Coding(value="111035", scheme="DCM", meaning="Lesion Density")


@pytest.fixture
def volume() -> Volume:
    return load(IMAGES)


def report(volume: Volume, *found: Finding) -> Findings:
    return replace(example(), sources=volume.sources, findings=found)


def finding(x: float, diameter: float | None = None, density: str = "", **more: object) -> Finding:
    sizes = [Measurement(concept=codes.DIAMETER, value=diameter, unit=codes.MILLIMETER)] if diameter else []
    said = [Quality(concept=DENSITY, value=Coding(value=density, scheme="99TEST", meaning=density))] if density else []
    return Finding(
        tracking_id="", tracking_uid="2.25.1", finding=codes.NODULE, center_mm=(x, 20.0, 8.0),
        measurements=tuple(sizes), qualities=tuple(said), **more,
    )  # type: ignore[arg-type]  # fmt: skip


def test_readers_are_joined_where_they_mean_one_lesion(volume: Volume) -> None:
    one = report(volume, finding(5, 8.0, "Solid"), finding(20, 4.0))
    two = report(volume, finding(7, 10.0, "Solid"))
    three = report(volume, finding(6, 6.0, "Part-solid"), finding(12, 6.0))
    truths = of_reports([one, two, three], volume).truths
    assert [truth.certain for truth in truths] == [True, False, False]
    assert truths[0].center_mm == pytest.approx((6, 20, 8))
    assert (truths[0].diameter_mm, truths[0].density) == (pytest.approx(8), "Solid")
    assert all(truth.certain for truth in of_reports([one, two, three], volume, needed=1).truths)


def test_two_marks_of_one_reader_stay_two(volume: Volume) -> None:
    assert len(of_reports([report(volume, finding(5, 8.0), finding(6, 8.0))], volume).truths) == 2


def test_a_size_is_what_the_report_says_first(volume: Volume) -> None:
    def sized(*measurements: tuple[Coding, float]) -> Finding:
        return replace(
            finding(5),
            measurements=tuple(Measurement(concept=c, value=v, unit=codes.MILLIMETER) for c, v in measurements),
        )

    axes = (codes.LONG_AXIS, 10.0), (codes.SHORT_AXIS, 6.0)
    circle = Region(image=volume.sources[4], graphic_type="CIRCLE", points=((10.0, 20.0), (16.0, 20.0)))
    sphere = 4 / 3 * np.pi * 5**3
    for given, expected in (
        (sized(*axes, (codes.DIAMETER, 9.0)), 9.0),
        (sized(*axes), 8.0),
        (sized((codes.LONG_AXIS, 10.0)), 10.0),
        (sized((codes.VOLUME, sphere)), 10.0),
        # 12 pixels wide at 0.5 mm and as many high at 1 mm.
        (finding(5, region=circle), 9.0),
        (finding(5), 3.0),
    ):
        (truth,) = of_reports([report(volume, given)], volume, IMAGES).truths
        assert truth.diameter_mm == pytest.approx(expected)


def test_a_segment_gives_place_and_volume(volume: Volume) -> None:
    box = np.zeros((10, 40, 50), dtype=bool)
    box[3:6, 10:14, 20:26] = True
    given = replace(finding(0), center_mm=None, mask=pack(box))
    reference = of_reports([report(volume, given)], volume)
    (truth,) = reference.truths
    assert truth.volume_mm3 == pytest.approx(3 * 4 * 6 * 1.0)
    assert truth.center_mm == pytest.approx((22.5 * 0.5, 11.5, 8.0))
    assert reference.segments[0] is not None
    assert dice(reference.segments[0], Segment(origin=(0, 0, 0), voxels=box)) == 1.0
    # A report that counts its images from the head down means the same voxels.
    turned = replace(report(volume, replace(given, mask=pack(box[::-1].copy()))), sources=volume.sources[::-1])
    assert of_reports([turned], volume).truths[0].center_mm == pytest.approx((22.5 * 0.5, 11.5, 8.0))


def test_a_finding_without_a_place_is_left_out(volume: Volume) -> None:
    assert of_reports([report(volume, replace(finding(0), center_mm=None))], volume).truths == ()


def test_overlap_and_agreement_of_segments(volume: Volume) -> None:
    def cube(corner: int) -> Segment:
        return Segment(origin=(corner, 0, 0), voxels=np.ones((4, 4, 4), dtype=bool))

    assert dice(cube(0), cube(2)) == pytest.approx(0.5)
    assert dice(cube(0), cube(4)) == 0.0
    both = agreed([cube(0), cube(2)])
    assert both is not None and both.voxels.sum() == 6 * 16
    most = agreed([cube(0), cube(1), cube(2)])
    assert most is not None and most.voxels.sum() == 4 * 16 and agreed([]) is None
    mask = pack(np.ones((2, 3, 3), dtype=bool))
    assert mask is not None and on_grid(mask, volume.sources[:1], volume) is None
