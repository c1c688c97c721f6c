"""The masks of a Findings as one binary Segmentation: PS3.3 A.51.

Written frame by frame from the masks' own boxes: a dense array of every slice of every segment would take gigabytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import SegmentationStorage

from dicom_sr import codes
from dicom_sr.content_item import code_item, sop_reference
from dicom_sr.errors import UnwritableFindings
from dicom_sr.findings import Algorithm, Finding, Findings
from dicom_sr.geometry import Plane, plane
from dicom_sr.headers import (
    declare_coding_schemes,
    equipment,
    evidence,
    new_instance,
    patient_and_study,
    series,
    source_of,
    stamp,
)
from dicom_sr.identity import seg_uid, uid
from dicom_sr.measurement_report import tracking_text
from dicom_sr.voxels import Voxels, unpack
from terminology.codings import Coding

_SEGMENTATION = Coding(value="113076", scheme="DCM", meaning="Segmentation")
_SOURCE_IMAGE = Coding(value="121322", scheme="DCM", meaning="Source image for image processing operation")
_DIMENSIONS = (
    (0x0062000B, 0x0062000A, "Referenced Segment Number"),
    (0x00200032, 0x00209113, "Image Position (Patient)"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Frame:
    segment: int
    #: Index into Findings.sources.
    slice: int
    bits: NDArray[np.bool_]


def write_seg(
    findings: Findings,
    sources: Sequence[Dataset],
    *,
    uid_root: str = "2.25",
    sop_instance_uid: str | None = None,
    series_instance_uid: str | None = None,
    series_number: int = 9002,
    predecessor: Dataset | None = None,
) -> Dataset | None:
    """One segment for each finding that has a mask, tied to the SR by Tracking ID and UID; None where none has one.

    ``sources`` are the headers of all images that ``findings.sources`` names, ``predecessor`` the report that a person
    verified a version of. Always the same for the same Findings. Raises UnwritableFindings with the place.
    """
    if not any(finding.mask is not None for finding in findings.findings):
        return None
    images = source_of(findings, sources)
    planes = _planes(findings, images)
    segmented = [finding for finding in findings.findings if finding.mask is not None]
    frames = [frame for number, finding in enumerate(segmented, 1) for frame in _frames(number, finding, planes)]
    dataset = new_instance(SegmentationStorage, sop_instance_uid or seg_uid(uid_root, findings.key))
    first = sources[0]
    patient_and_study(dataset, first)
    stamp(dataset, first, findings.timestamp)
    equipment(dataset, findings, predecessor)
    author = "Verified" if findings.verified else "AI"
    series(dataset, "SEG", series_instance_uid or uid(uid_root, "seg-series", findings.key), series_number, author)
    dataset.FrameOfReferenceUID = findings.frame_of_reference_uid
    dataset.PositionReferenceIndicator = None
    _pixels(dataset, frames, planes[0])
    dataset.ContentCreatorName = findings.person or "" if findings.verified else ""
    dataset.SegmentSequence = [_segment(n, finding, findings.algorithm) for n, finding in enumerate(segmented, 1)]
    _functional_groups(dataset, findings, frames, planes, first)
    _dimensions(dataset, uid(uid_root, "seg-dimensions", findings.key))
    touched = sorted({frame.slice for frame in frames})
    dataset.ReferencedSeriesSequence = _referenced_series(findings, touched)
    declare_coding_schemes(dataset)
    return dataset


def _planes(findings: Findings, images: dict[str, Dataset]) -> list[Plane]:
    if not findings.frame_of_reference_uid:
        raise UnwritableFindings("a segmentation needs a frame of reference", place="frame_of_reference_uid")
    planes: list[Plane] = []
    for index, reference in enumerate(findings.sources):
        image = images.get(reference.sop_instance_uid)
        at = plane(image, reference.frame_number) if image is not None else None
        if at is None:
            raise UnwritableFindings("no header that says where the image lies", place=f"sources[{index}]")
        if planes and not planes[0].is_parallel(at):
            raise UnwritableFindings("the images are not of one volume", place=f"sources[{index}]")
        planes.append(at)
    if not planes:
        raise UnwritableFindings("a segmentation needs its images", place="sources")
    return planes


def _frames(number: int, finding: Finding, planes: Sequence[Plane]) -> list[_Frame]:
    if finding.mask is None:
        return []
    box: Voxels = unpack(finding.mask)
    (first, top, left), (slices, height, width) = finding.mask.origin, finding.mask.shape
    rows, columns = planes[0].rows, planes[0].columns
    if first + slices > len(planes) or top + height > rows or left + width > columns:
        raise UnwritableFindings("the box reaches beyond the volume", place=f"findings[{number - 1}].mask")
    frames = []
    for offset in range(slices):
        if not box[offset].any():
            continue
        bits = np.zeros((rows, columns), np.bool_)
        bits[top : top + height, left : left + width] = box[offset]
        frames.append(_Frame(segment=number, slice=first + offset, bits=bits))
    if not frames:
        raise UnwritableFindings("a mask without a voxel", place=f"findings[{number - 1}].mask")
    return frames


def _pixels(dataset: Dataset, frames: Sequence[_Frame], first: Plane) -> None:
    """Image Pixel and Segmentation Image: PS3.3 C.8.20.2, bits packed low first (PS3.5 8.1.1)."""
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.NumberOfFrames = len(frames)
    dataset.Rows, dataset.Columns = first.rows, first.columns
    dataset.BitsAllocated = dataset.BitsStored = 1
    dataset.HighBit = dataset.PixelRepresentation = 0
    dataset.LossyImageCompression = "00"
    dataset.SegmentationType = "BINARY"
    dataset.ContentLabel = "FINDINGS"
    dataset.ContentDescription = "Segmentation of the findings"
    packed = np.packbits(np.concatenate([frame.bits.ravel() for frame in frames]), bitorder="little").tobytes()
    dataset.PixelData = packed + b"\0" * (len(packed) % 2)
    dataset["PixelData"].VR = "OB"


def _segment(number: int, finding: Finding, algorithm: Algorithm | None) -> Dataset:
    """One item of the Segment Sequence (0062,0002)."""
    item = Dataset()
    item.SegmentNumber = number
    item.SegmentLabel = finding.tracking_id[:64]
    item.SegmentedPropertyCategoryCodeSequence = [code_item(codes.ABNORMAL_STRUCTURE)]
    item.SegmentedPropertyTypeCodeSequence = [code_item(finding.finding)]
    if finding.site is not None:
        site = code_item(finding.site)
        if finding.laterality is not None:
            site.AnatomicRegionModifierSequence = [code_item(finding.laterality)]
        item.AnatomicRegionSequence = [site]
    method = finding.mask.method if finding.mask is not None else ""
    item.SegmentAlgorithmType = "SEMIAUTOMATIC" if method else "AUTOMATIC" if algorithm else "MANUAL"
    if method:
        item.SegmentAlgorithmName = method[:64]
    elif algorithm:
        item.SegmentAlgorithmName = algorithm.name[:64]
        item.SegmentationAlgorithmIdentificationSequence = [_algorithm(algorithm)]
    item.TrackingID = tracking_text(finding)
    item.TrackingUID = finding.tracking_uid
    return item


def _algorithm(algorithm: Algorithm) -> Dataset:
    """Algorithm Identification Macro: PS3.3 Table 10-19."""
    item = Dataset()
    item.AlgorithmFamilyCodeSequence = [code_item(codes.ARTIFICIAL_INTELLIGENCE)]
    item.AlgorithmName = algorithm.name[:64]
    item.AlgorithmVersion = algorithm.version[:64]
    item.AlgorithmSource = algorithm.manufacturer[:64]
    return item


def _functional_groups(
    dataset: Dataset, findings: Findings, frames: Sequence[_Frame], planes: Sequence[Plane], first: Dataset
) -> None:
    """Multi-frame Functional Groups: PS3.3 C.7.6.16."""
    measures, orientation, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = list(planes[0].spacing)
    gaps = [planes[i].distance(_point(planes[i + 1])) for i in range(len(planes) - 1)]
    between = float(np.median(gaps)) if gaps else None
    measures.SliceThickness = _decimal(first.get("SliceThickness") or between or 1.0)
    if between:
        measures.SpacingBetweenSlices = _decimal(between)
    orientation.ImageOrientationPatient = [_decimal(v) for v in (*planes[0].row, *planes[0].column)]
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [orientation]
    dataset.SharedFunctionalGroupsSequence = [shared]
    order = sorted({frame.slice for frame in frames})
    dataset.PerFrameFunctionalGroupsSequence = [
        _frame_groups(frame, order.index(frame.slice) + 1, planes[frame.slice], findings) for frame in frames
    ]


def _decimal(value: float) -> float:
    """A number that a DS holds: 10 significant digits are nanometres at the size of a body."""
    return float(f"{float(value):.10g}")


def _point(at: Plane) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in at.position)
    return x, y, z


def _frame_groups(frame: _Frame, place: int, at: Plane, findings: Findings) -> Dataset:
    content, position, segment, derivation, group = (Dataset() for _ in range(5))
    content.DimensionIndexValues = [frame.segment, place]
    position.ImagePositionPatient = [_decimal(value) for value in at.position]
    segment.ReferencedSegmentNumber = frame.segment
    source = sop_reference(findings.sources[frame.slice])
    source.PurposeOfReferenceCodeSequence = [code_item(_SOURCE_IMAGE)]
    derivation.SourceImageSequence = [source]
    derivation.DerivationCodeSequence = [code_item(_SEGMENTATION)]
    group.DerivationImageSequence = [derivation]
    group.FrameContentSequence = [content]
    group.PlanePositionSequence = [position]
    group.SegmentIdentificationSequence = [segment]
    return group


def _dimensions(dataset: Dataset, organization_uid: str) -> None:
    """Multi-frame Dimension: PS3.3 C.7.6.17; segment, then position."""
    organization = Dataset()
    organization.DimensionOrganizationUID = organization_uid
    dataset.DimensionOrganizationSequence = [organization]
    dataset.DimensionIndexSequence = []
    for pointer, group, label in _DIMENSIONS:
        index = Dataset()
        index.DimensionOrganizationUID = organization_uid
        index.DimensionIndexPointer = pointer
        index.FunctionalGroupPointer = group
        index.DimensionDescriptionLabel = label
        dataset.DimensionIndexSequence.append(index)


def _referenced_series(findings: Findings, touched: Sequence[int]) -> list[Dataset]:
    """Common Instance Reference (PS3.3 C.12.2): the evidence of an SR by another name."""
    study = evidence(findings.study_instance_uid, [findings.sources[index] for index in touched])
    items = []
    for one in study.ReferencedSeriesSequence:
        item = Dataset()
        item.SeriesInstanceUID = one.SeriesInstanceUID
        item.ReferencedInstanceSequence = one.ReferencedSOPSequence
        items.append(item)
    return items
