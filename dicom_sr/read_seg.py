"""The masks of a binary SEG, ours or anybody's, for the findings that its segments track: PS3.3 A.51."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_sr.content_tree import items, number, text, value
from dicom_sr.errors import UnreadableReport
from dicom_sr.findings import Findings, Mask
from dicom_sr.voxels import pack

_NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)


def read_seg(dataset: Dataset, findings: Findings) -> Findings:
    """The findings with the masks that the SEG has for them, matched by Tracking UID (0062,0021).

    Slices are counted along ``findings.sources``. A finding that no segment tracks keeps what it has. Raises
    UnreadableReport with the place.
    """
    segments = _segments(dataset)
    wanted = {finding.tracking_uid for finding in findings.findings}
    slices = {(source.sop_instance_uid, source.frame_number or 0): n for n, source in enumerate(findings.sources)}
    masks: dict[str, Mask] = {}
    frames = _Frames.of(dataset)
    for segment, (tracking_uid, method) in segments.items():
        if tracking_uid in wanted:
            mask = _mask(dataset, frames, segment, slices)
            if mask is not None:
                masks[tracking_uid] = replace(mask, method=method)
    found = tuple(replace(f, mask=masks.get(f.tracking_uid, f.mask)) for f in findings.findings)
    return replace(findings, findings=found)


def _segments(dataset: Dataset) -> Mapping[int, tuple[str, str]]:
    """Tracking UID and Mask.method by segment number, of the segments that have a Tracking UID."""
    segments = {}
    for index, item in enumerate(items(dataset, "SegmentSequence", "")):
        place = f"SegmentSequence[{index}]."
        segment, tracking_uid = number(item, "SegmentNumber", place), text(item, "TrackingUID", place)
        if segment is not None and tracking_uid:
            half = text(item, "SegmentAlgorithmType", place) == "SEMIAUTOMATIC"
            segments[int(segment)] = tracking_uid, text(item, "SegmentAlgorithmName", place) if half else ""
    return segments


@dataclass(frozen=True, kw_only=True)
class _Frames:
    """The pixel data of a binary segmentation: one bit a voxel, low bit first (PS3.5 8.1.1)."""

    rows: int
    columns: int
    count: int
    bits: bytes

    @classmethod
    def of(cls, dataset: Dataset) -> "_Frames":
        """Checked against the size that the header declares."""
        if text(dataset, "SegmentationType", "") != "BINARY":
            raise UnreadableReport("no binary segmentation", place="SegmentationType")
        syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", ExplicitVRLittleEndian)
        if syntax not in _NATIVE:
            raise UnreadableReport("compressed pixel data: decompress it first", place="TransferSyntaxUID")
        sizes = [int(number(dataset, keyword, "") or 0) for keyword in ("Rows", "Columns", "NumberOfFrames")]
        bits = value(dataset, "PixelData", "") or b""
        rows, columns, count = sizes
        if min(sizes) < 1 or not isinstance(bits, bytes) or len(bits) * 8 < rows * columns * count:
            raise UnreadableReport("less pixel data than the header declares", place="PixelData")
        return cls(rows=rows, columns=columns, count=count, bits=bits)

    def __getitem__(self, index: int) -> NDArray[np.bool_]:
        size = self.rows * self.columns
        first, last = index * size, (index + 1) * size
        chunk = np.frombuffer(self.bits, np.uint8)[first // 8 : (last + 7) // 8]
        plane = np.unpackbits(chunk, bitorder="little")[first % 8 : first % 8 + size]
        return plane.reshape(self.rows, self.columns).astype(np.bool_)


def _mask(dataset: Dataset, frames: _Frames, segment: int, slices: Mapping[tuple[str, int], int]) -> Mask | None:
    """All frames of one segment as one box."""
    planes = {}
    for index, image in _frames_of(dataset, segment, frames.count):
        if image not in slices:
            raise UnreadableReport(
                "a frame on an image that the report does not name",
                place=f"PerFrameFunctionalGroupsSequence[{index}].DerivationImageSequence",
            )
        planes[slices[image]] = frames[index]
    if not planes:
        return None
    low, high = min(planes), max(planes) + 1
    box = np.zeros((high - low, frames.rows, frames.columns), np.bool_)
    for at, plane in planes.items():
        box[at - low] = plane
    return pack(box, (low, 0, 0))


def _frames_of(dataset: Dataset, segment: int, count: int) -> Iterator[tuple[int, tuple[str, int]]]:
    """Index and source image of each frame of one segment."""
    shared = items(dataset, "SharedFunctionalGroupsSequence", "")
    for index, groups in enumerate(items(dataset, "PerFrameFunctionalGroupsSequence", "")[:count]):
        place = f"PerFrameFunctionalGroupsSequence[{index}]."
        identified = items(groups, "SegmentIdentificationSequence", place)
        for one in shared if not identified else []:
            identified = items(one, "SegmentIdentificationSequence", place)
        if not identified or number(identified[0], "ReferencedSegmentNumber", place) != segment:
            continue
        for derivation in items(groups, "DerivationImageSequence", place)[:1]:
            for source in items(derivation, "SourceImageSequence", place)[:1]:
                frame = number(source, "ReferencedFrameNumber", place)
                yield index, (text(source, "ReferencedSOPInstanceUID", place), int(frame or 0))
