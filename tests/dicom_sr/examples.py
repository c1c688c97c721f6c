"""A tiny CT and Findings on it: 8 slices of 64 x 64, with two blobs whose voxels are known."""

import zlib
from datetime import UTC, datetime

import numpy as np
from pydicom import Dataset
from pydicom.uid import CTImageStorage

from dicom_sr import codes
from dicom_sr.findings import (
    Algorithm,
    Finding,
    Findings,
    ImageReference,
    Mask,
    Measurement,
    Quality,
    Region,
)
from terminology.codings import Coding
from terminology.private_scheme import ATTENUATION_RULE, PART_SOLID

STUDY = "2.25.1001"
SERIES = "2.25.1002"
FRAME_OF_REFERENCE = "2.25.1003"
ROWS = COLUMNS = 64
SLICES = 8
SPACING = (0.75, 0.75)
THICKNESS = 1.25
ORIGIN = (-24.0, -30.5, 100.0)
DENSITY = Coding(value="112118", scheme="DCM", meaning="Density")
LUNG = Coding(value="39607008", scheme="SCT", meaning="Lung")
LEFT = Coding(value="7771000", scheme="SCT", meaning="Left")
CT_CHEST = Coding(value="24627-2", scheme="LN", meaning="CT Chest Report")


def ct(*, anonymised: bool = False) -> list[Dataset]:
    """The headers of the series, in slice order; an anonymised one lacks what LIDC-IDRI lacks."""
    return [_slice(index, anonymised) for index in range(SLICES)]


def _slice(index: int, anonymised: bool) -> Dataset:
    image = Dataset()
    image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = f"2.25.2{index:03d}"
    image.StudyInstanceUID, image.SeriesInstanceUID = STUDY, SERIES
    image.FrameOfReferenceUID = FRAME_OF_REFERENCE
    image.Modality = "CT"
    image.PatientID = "P-1"
    image.PatientName = "Wang^XiaoDong=王^小东"
    image.SpecificCharacterSet = "ISO_IR 192"
    image.StudyDate = "20260102"
    image.AccessionNumber = "A-77"
    if anonymised:
        image.PatientName = ""
        image.PatientIdentityRemoved = "YES"
        image.DeidentificationMethod = "removed by hand"
    else:
        image.PatientBirthDate, image.PatientSex = "19600229", "F"
        image.StudyTime, image.StudyID = "081500", "1"
        image.ReferringPhysicianName = "Li^Wei"
    image.InstanceNumber = SLICES - index
    image.Rows, image.Columns = ROWS, COLUMNS
    image.PixelSpacing = list(SPACING)
    image.SliceThickness = THICKNESS
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.ImagePositionPatient = [ORIGIN[0], ORIGIN[1], ORIGIN[2] + index * THICKNESS]
    return image


def references() -> tuple[ImageReference, ...]:
    """The series as a Findings names it."""
    return tuple(
        ImageReference(sop_class_uid=CTImageStorage, sop_instance_uid=f"2.25.2{n:03d}", series_instance_uid=SERIES)
        for n in range(SLICES)
    )


def blob(centre: tuple[int, int, int], radius: int) -> Mask:
    """A ball of voxels around (slice, row, column), cut at the ends of the volume."""
    low = [max(0, c - radius) for c in centre]
    high = [min(size, c + radius + 1) for c, size in zip(centre, (SLICES, ROWS, COLUMNS), strict=True)]
    axes = np.ogrid[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    inside = sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)) <= radius**2
    return Mask(
        origin=(low[0], low[1], low[2]),
        shape=(inside.shape[0], inside.shape[1], inside.shape[2]),
        bits=zlib.compress(np.packbits(inside).tobytes()),
    )


def at(centre: tuple[int, int, int]) -> tuple[float, float, float]:
    """The patient point of a voxel's centre, mm."""
    return (
        ORIGIN[0] + centre[2] * SPACING[1],
        ORIGIN[1] + centre[1] * SPACING[0],
        ORIGIN[2] + centre[0] * THICKNESS,
    )


def nodule(number: int, centre: tuple[int, int, int], radius: int) -> Finding:
    """A finding around a blob, with the measurements that every nodule gets."""
    image = references()[centre[0]]
    left, right = centre[2] - radius + 0.5, centre[2] + radius + 0.5
    row = centre[1] + 0.5
    ring = tuple((centre[2] + radius * c + 0.5, centre[1] + radius * s + 0.5) for c, s in _CIRCLE)
    axis = Region(image=image, graphic_type="POLYLINE", points=((left, row), (right, row)))
    diameter = 2 * radius * SPACING[0]
    return Finding(
        tracking_id=f"Nodule {number}",
        tracking_uid=f"2.25.30{number}",
        finding=codes.NODULE,
        site=LUNG,
        laterality=LEFT,
        center_mm=at(centre),
        confidence=0.875 + number / 1000,
        region=Region(image=image, graphic_type="POLYLINE", points=ring),
        measurements=(
            Measurement(concept=codes.LONG_AXIS, value=diameter, unit=codes.MILLIMETER),
            Measurement(concept=codes.SHORT_AXIS, value=diameter / 3, unit=codes.MILLIMETER, region=axis),
            Measurement(concept=codes.DIAMETER, value=diameter * 2 / 3, unit=codes.MILLIMETER),
            Measurement(
                concept=codes.VOLUME,
                value=1234.5678901234567,
                unit=codes.CUBIC_MILLIMETER,
                method=codes.SEGMENTED_VOXELS,
            ),
        ),
        qualities=(Quality(concept=DENSITY, value=PART_SOLID, method=ATTENUATION_RULE, confidence=0.75),),
        mask=blob(centre, radius),
    )


_CIRCLE = ((1.0, 0.0), (0.75, 0.625), (0.0, 1.0), (-0.75, 0.625), (-1.0, 0.0), (0.0, -1.0), (1.0, 0.0))

ALGORITHM = Algorithm(
    name="nodule_detection",
    version="1.0.0",
    manufacturer="Hutong",
    device_uid="2.25.4001",
    digest="ab" * 32,
    parameters=(("threshold", "0.5"), ("provider", "CPUExecutionProvider")),
)


def findings(*nodules: Finding) -> Findings:
    """An analysis of the series that found these."""
    return Findings(
        key="c0ffee" * 8,
        study_instance_uid=STUDY,
        frame_of_reference_uid=FRAME_OF_REFERENCE,
        sources=references(),
        findings=nodules,
        timestamp=datetime(2026, 1, 2, 9, 30, 15, 250000, tzinfo=UTC),
        algorithm=ALGORITHM,
        procedure=CT_CHEST,
    )


def two_nodules() -> Findings:
    """The usual result."""
    return findings(nodule(1, (3, 20, 40), 4), nodule(2, (5, 44, 16), 3))
