"""An enhanced CT: the slices are frames of one instance."""

from dataclasses import replace

import pytest
from pydicom import Dataset
from pydicom.uid import EnhancedCTImageStorage

from dicom_sr.errors import UnwritableFindings
from dicom_sr.findings import Findings, ImageReference
from dicom_sr.read import read
from dicom_sr.read_seg import read_seg
from dicom_sr.write_seg import write_seg
from dicom_sr.write_sr import write_sr
from tests.dicom_sr.examples import SERIES, SLICES, ct, findings, nodule


def enhanced() -> Dataset:
    """The example series as one multi-frame image."""
    slices = ct()
    image = slices[0]
    image.SOPClassUID, image.SOPInstanceUID = EnhancedCTImageStorage, "2.25.2999"
    image.NumberOfFrames = SLICES
    orientation, measures, shared = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = image.ImageOrientationPatient
    measures.PixelSpacing = image.PixelSpacing
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    image.SharedFunctionalGroupsSequence = [shared]
    image.PerFrameFunctionalGroupsSequence = []
    for one in slices:
        position, groups = Dataset(), Dataset()
        position.ImagePositionPatient = one.ImagePositionPatient
        groups.PlanePositionSequence = [position]
        image.PerFrameFunctionalGroupsSequence.append(groups)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(image, keyword)
    return image


def report() -> Findings:
    frames = tuple(
        ImageReference(
            sop_class_uid=EnhancedCTImageStorage,
            sop_instance_uid="2.25.2999",
            series_instance_uid=SERIES,
            frame_number=number,
        )
        for number in range(1, SLICES + 1)
    )
    found = replace(nodule(1, (3, 20, 40), 4), region=None)
    found = replace(found, measurements=found.measurements[:1])
    return replace(findings(found), sources=frames)


def test_frames_are_named_and_read_back() -> None:
    sr, seg = write_sr(report(), [enhanced()]), write_seg(report(), [enhanced()])
    assert seg is not None
    assert read_seg(seg, read(sr)) == report()
    frames = seg.PerFrameFunctionalGroupsSequence
    sources = [frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber for frame in frames]
    assert sources == list(range(1, SLICES + 1))
    (series,) = sr.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert len(series.ReferencedSOPSequence) == 1


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("ImagePositionPatient", None), ("ImageOrientationPatient", [0, 1, 0, 1, 0, 0]), ("Rows", 32)],
)
def test_images_that_are_no_volume_are_refused(keyword: str, value: object) -> None:
    sources = ct()
    setattr(sources[5], keyword, value)
    with pytest.raises(UnwritableFindings) as caught:
        write_seg(findings(nodule(1, (3, 20, 40), 4)), sources)
    assert caught.value.place == "sources[5]"


def test_a_mask_beyond_the_volume_is_refused() -> None:
    found = nodule(1, (3, 20, 40), 4)
    assert found.mask is not None
    outside = replace(found, mask=replace(found.mask, origin=(5, 0, 0)))
    with pytest.raises(UnwritableFindings, match="beyond"):
        write_seg(findings(outside), ct())
    torn = replace(found, mask=replace(found.mask, bits=b"no zlib"))
    with pytest.raises(UnwritableFindings, match="zlib"):
        write_seg(findings(torn), ct())
