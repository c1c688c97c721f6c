"""The LIDC reader: outlines to masks, readers to lesions."""

from pathlib import Path

import numpy as np
import pytest

from ai_adapters.evaluation.lidc import BrokenReading, lesions, reading
from ai_adapters.volume import Volume, load
from tests.ai_adapters.series import series

EDGE = "<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>"


def roi(slice_number: int, box: tuple[int, int, int, int], inclusion: str = "TRUE") -> str:
    """A rectangular edge (left, top, right, bottom) on a slice."""
    left, top, right, bottom = box
    points = [(x, top) for x in range(left, right)] + [(right, y) for y in range(top, bottom)]
    points += [(x, bottom) for x in range(right, left, -1)] + [(left, y) for y in range(bottom, top, -1)]
    edges = "".join(EDGE.format(x=x, y=y) for x, y in points)
    uid = f"<imageSOP_UID>2.25.100{slice_number}</imageSOP_UID>"
    return f"<roi><imageZposition>0</imageZposition>{uid}<inclusion>{inclusion}</inclusion>{edges}</roi>"


def written(*readers: list[list[str]]) -> str:
    """An XML of readers; each has nodules, each of those rois."""
    sessions = "".join(
        "<readingSession>"
        + "".join(f"<unblindedReadNodule>{''.join(rois)}</unblindedReadNodule>" for rois in nodules)
        + "</readingSession>"
        for nodules in readers
    )
    return f'<LidcReadMessage xmlns="http://www.nih.gov">{sessions}</LidcReadMessage>'


@pytest.fixture
def volume() -> Volume:
    return load(series(np.zeros((8, 40, 50), dtype=np.int16), spacing=(2.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0)))


def test_readers_agree_on_a_lesion_and_holes_are_cut_out(tmp_path: Path, volume: Volume) -> None:
    whole = [roi(k, (10, 20, 18, 28)) for k in (3, 4, 5)]
    smaller = [roi(k, (11, 20, 18, 28)) for k in (3, 4)]
    hole = roi(4, (12, 22, 16, 26), "FALSE")
    path = tmp_path / "reading.xml"
    path.write_text(written([whole], [whole], [[*whole, hole]], [smaller]), encoding="utf-8")
    (lesion,) = lesions(path, volume)
    assert lesion.readers == 4
    # The edge lies outside: a box of 7 x 7 pixels on three slices, seen by at least half of the readers.
    assert (lesion.share >= 0.5).sum() == 3 * 49
    assert lesion.index == pytest.approx((4, 24, 14))
    assert lesion.center_mm == pytest.approx((14, 24, 8))
    assert lesion.diameter_mm == pytest.approx((6 * 3 * 49 * 2.0 / np.pi) ** (1 / 3))
    assert lesion.share.min() == 0.75


def test_lesions_apart_stay_apart_and_points_are_no_outline(tmp_path: Path, volume: Volume) -> None:
    point = f"<roi><imageSOP_UID>2.25.1002</imageSOP_UID><inclusion>TRUE</inclusion>{EDGE.format(x=40, y=5)}</roi>"
    path = tmp_path / "reading.xml"
    path.write_text(written([[roi(4, (10, 20, 18, 28))], [point]], [[point]]), encoding="utf-8")
    large, small = lesions(path, volume)
    assert (large.readers, small.readers) == (1, 0)
    assert small.index == (2, 5, 40)


@pytest.mark.data
def test_the_annotated_ct_has_the_lesions_that_its_source_names() -> None:
    pytest.importorskip("pydicom")
    import tarfile
    from io import BytesIO

    import pydicom

    folder = Path(__file__).parents[4] / "shared" / "data" / "lidc"
    if not folder.exists():
        pytest.skip("the annotated CTs are not beside the project")
    with tarfile.open(folder / "LIDC-IDRI-0003.tar.xz") as archive:
        files = [archive.extractfile(member) for member in archive if member.name.endswith(".dcm")]
        images = [pydicom.dcmread(BytesIO(file.read()), stop_before_pixels=True) for file in files if file is not None]
    affine = np.diag([2.5, images[0].PixelSpacing[0], images[0].PixelSpacing[1], 1.0])
    images.sort(key=lambda image: image.ImagePositionPatient[2])
    shape = (len(images), images[0].Rows, images[0].Columns)
    from dicom_sr.findings import ImageReference

    sources = tuple(
        ImageReference(sop_class_uid="", sop_instance_uid=str(image.SOPInstanceUID), series_instance_uid="")
        for image in images
    )
    volume = Volume(voxels=np.zeros(shape, dtype=np.int16), affine=affine, sources=sources)
    agreed = [lesion.diameter_mm for lesion in lesions(folder / "LIDC-IDRI-0003.xml", volume) if lesion.readers == 4]
    assert agreed == pytest.approx([21.5, 12.8, 8.8], rel=0.08)


def test_texture_is_the_density_that_the_readers_mean(tmp_path: Path, volume: Volume) -> None:
    def nodule(texture: int) -> str:
        return f"<characteristics><texture>{texture}</texture></characteristics>{roi(4, (10, 20, 18, 28))}"

    path = tmp_path / "reading.xml"
    for textures, density in (((5, 5, 4, 1), "solid"), ((3, 3, 3, 5), "part-solid"), ((1, 2, 1, 3), "ground-glass")):
        path.write_text(written(*([[nodule(texture)]] for texture in textures)), encoding="utf-8")
        assert [lesion.density for lesion in lesions(path, volume)] == [density]


def test_a_reading_says_whose_it_is_and_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "reading.xml"
    header = (
        "<ResponseHeader><SeriesInstanceUid>2.25.11</SeriesInstanceUid><StudyInstanceUID>2.25.10</StudyInstanceUID>"
    )
    whole = written([], []).replace("<readingSession>", f"{header}</ResponseHeader><readingSession>", 1)
    path.write_text(whole, encoding="utf-8")
    said = reading(path)
    assert (said.study_instance_uid, said.series_instance_uid, said.readers) == ("2.25.10", "2.25.11", 2)
    path.write_text("<other/>", encoding="utf-8")
    with pytest.raises(BrokenReading, match="no LIDC-IDRI reading"):
        reading(path)
    path.write_text("plain text", encoding="utf-8")
    with pytest.raises(BrokenReading, match="no XML"):
        reading(path)
