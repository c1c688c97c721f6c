"""A CT series as one block of Hounsfield units with its place in the patient.

Slices are ordered by where they lie (Image Position along the normal of Image Orientation, PS3.3 C.7.6.2.1.1), never by
Instance Number. Indexes are (slice, row, column); patient coordinates are LPS in mm. A series that is no regular grid
(a slice missing or double, a tilted gantry, mixed orientation) is refused with a reason that a person can act on.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from dicom_sr.findings import ImageReference, Point

#: What a CT can show, in HU; padding values outside it become air.
LOWEST_HU, HIGHEST_HU = -1024, 4095
#: Two slices closer than this share of the usual gap count as the same place.
_SAME_PLACE = 0.1
#: A gap may differ from the usual one by this share (positions are rounded by scanners).
_GAP_TOLERANCE = 0.1
#: Drift of the image corner from slice to slice, as the tangent of an angle (0.5 degrees).
_TILT_TOLERANCE = 0.0087

Array = npt.NDArray[np.floating]


class UnusableSeries(Exception):
    """A series that the adapter cannot read; ``reason`` says in one sentence what is wrong with it."""

    def __init__(self, reason: str) -> None:
        """Keep the reason for Task.statusReason."""
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Volume:
    """Hounsfield units on a regular grid, and the grid's place in the patient."""

    #: int16 HU, (slice, row, column).
    voxels: npt.NDArray[np.int16]
    #: 4x4: homogeneous (slice, row, column) to patient mm (LPS).
    affine: npt.NDArray[np.float64]
    #: One image a slice, in the order of the slices.
    sources: tuple[ImageReference, ...] = ()
    study_instance_uid: str = ""
    frame_of_reference_uid: str = ""

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between neighbours along (slice, row, column), mm."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return (float(lengths[0]), float(lengths[1]), float(lengths[2]))

    def to_patient(self, index: Sequence[float]) -> Point:
        """The patient coordinates (mm, LPS) of a fractional (slice, row, column)."""
        x, y, z = self.affine[:3, :3] @ np.asarray(index, dtype=float) + self.affine[:3, 3]
        return (float(x), float(y), float(z))

    def to_index(self, point: Sequence[float]) -> Point:
        """The fractional (slice, row, column) of a point in the patient (mm, LPS)."""
        k, j, i = np.linalg.solve(self.affine[:3, :3], np.asarray(point, dtype=float) - self.affine[:3, 3])
        return (float(k), float(j), float(i))


def decoders(threads: int | None) -> int:
    """Slices that are worth decoding at a time: as many as there are threads to use, at most four."""
    return min(threads or os.cpu_count() or 1, 4)


def load(
    headers: Sequence[Dataset], read: Callable[[Dataset], Dataset] = lambda header: header, workers: int = 1
) -> Volume:
    """The volume of one series; ``read`` turns a header into the data set with its pixels.

    ``workers`` slices are read and decoded at a time, each once; ``read`` must bear that. Raises UnusableSeries where
    the images do not make a regular grid.
    """
    ordered, affine = _grid(headers)
    first = ordered[0]
    voxels = np.empty((len(ordered), int(first.Rows), int(first.Columns)), dtype=np.int16)

    def fill(index: int) -> None:
        voxels[index] = _hounsfield(read(ordered[index]))

    if workers > 1:
        with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
            list(pool.map(fill, range(len(ordered))))
    else:
        for index in range(len(ordered)):
            fill(index)
    return Volume(
        voxels=voxels,
        affine=affine,
        sources=tuple(_reference(header) for header in ordered),
        study_instance_uid=str(first.get("StudyInstanceUID", "")),
        frame_of_reference_uid=str(first.get("FrameOfReferenceUID", "")),
    )


def orientation(header: Dataset) -> npt.NDArray[np.float64]:
    """Row direction, column direction and normal as the rows of a 3x3 matrix (Image Orientation Patient)."""
    cosines = np.asarray(header.ImageOrientationPatient, dtype=float).reshape(2, 3)
    return np.vstack([cosines, np.cross(cosines[0], cosines[1])])


def _grid(headers: Sequence[Dataset]) -> tuple[list[Dataset], npt.NDArray[np.float64]]:
    """The headers in geometric order and the affine of their grid."""
    _refuse_unlike(headers)
    axes = orientation(headers[0])
    positions = np.asarray([[float(v) for v in header.ImagePositionPatient] for header in headers])
    order = np.argsort(positions @ axes[2], kind="stable")
    positions = positions[order]
    step = _step(positions, axes[2])
    row_gap, column_gap = (float(v) for v in headers[0].PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = axes[1] * row_gap
    affine[:3, 2] = axes[0] * column_gap
    affine[:3, 3] = positions[0]
    return [headers[index] for index in order], affine


def _refuse_unlike(headers: Sequence[Dataset]) -> None:
    """Refuse images that lack their geometry or differ from the first one."""
    if len(headers) < 2:
        raise UnusableSeries("the series has fewer than two images")
    for header in headers:
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns"):
            if header.get(keyword) in (None, ""):
                raise UnusableSeries(f"an image has no {keyword}")
        if int(header.get("NumberOfFrames") or 1) > 1:
            raise UnusableSeries("multi-frame images are not read; send single-frame CT images")
    first = headers[0]
    for header in headers[1:]:
        if not np.allclose(orientation(header), orientation(first), atol=1e-3):
            raise UnusableSeries("the images differ in Image Orientation (Patient)")
        if (header.Rows, header.Columns) != (first.Rows, first.Columns):
            raise UnusableSeries("the images differ in Rows or Columns")
        if not np.allclose([float(v) for v in header.PixelSpacing], [float(v) for v in first.PixelSpacing], rtol=1e-3):
            raise UnusableSeries("the images differ in Pixel Spacing")
        if header.get("FrameOfReferenceUID") != first.get("FrameOfReferenceUID"):
            raise UnusableSeries("the images differ in Frame of Reference UID")


def _step(positions: npt.NDArray[np.float64], normal: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The vector from one slice to the next; refuses double, missing and sheared slices."""
    gaps = np.diff(positions @ normal)
    usual = float(np.median(gaps))
    if usual <= 0 or np.any(gaps < _SAME_PLACE * usual):
        raise UnusableSeries("two images lie at the same place; the series holds more than one set of slices")
    odd = np.flatnonzero(np.abs(gaps - usual) > _GAP_TOLERANCE * usual)
    if odd.size:
        where, gap = int(odd[0]), float(gaps[odd[0]])
        raise UnusableSeries(
            f"slices are not evenly spaced: {gap:.2f} mm after slice {where + 1} of {len(positions)}, "
            f"usually {usual:.2f} mm; a slice is missing or spacings are mixed"
        )
    whole = positions[-1] - positions[0]
    along = float(whole @ normal)
    drift = float(np.linalg.norm(whole - along * normal))
    if drift > _TILT_TOLERANCE * along:
        raise UnusableSeries(f"the gantry was tilted by {np.degrees(np.arctan2(drift, along)):.1f} degrees")
    step: npt.NDArray[np.float64] = normal * along / (len(positions) - 1)
    return step


def _hounsfield(dataset: Dataset) -> npt.NDArray[np.int16]:
    """One slice in HU (Modality LUT as Rescale Slope and Intercept, PS3.3 C.11.1)."""
    if str(dataset.get("PhotometricInterpretation", "MONOCHROME2")) != "MONOCHROME2":
        raise UnusableSeries("an image is not MONOCHROME2")
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    stored = dataset.pixel_array.astype(np.float32)
    stored *= slope
    stored += intercept
    rounded: npt.NDArray[np.int16] = np.clip(np.rint(stored), LOWEST_HU, HIGHEST_HU).astype(np.int16)
    return rounded


def _reference(header: Dataset) -> ImageReference:
    """Which image a slice came from."""
    return ImageReference(
        sop_class_uid=str(header.SOPClassUID),
        sop_instance_uid=str(header.SOPInstanceUID),
        series_instance_uid=str(header.SeriesInstanceUID),
    )


def crop(volume: Volume, low: Sequence[int], high: Sequence[int]) -> Volume:
    """The box from index ``low`` up to but without ``high``, in its place; sources are those of its slices."""
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    affine = volume.affine.copy()
    affine[:3, 3] = volume.to_patient(low)
    return replace(volume, voxels=volume.voxels[box], affine=affine, sources=volume.sources[low[0] : high[0]])


def resample(volume: Volume, spacing: float | Sequence[float]) -> Volume:
    """The volume on a grid of the same axes with one spacing (mm) in all directions, or one for each axis.

    Separable triangle filter as wide as the coarser of the two grids: linear interpolation where the grid gets finer,
    an average where it gets coarser, so that noise is not aliased.
    """
    wanted = [spacing] * 3 if isinstance(spacing, int | float) else list(spacing)
    extent = list(zip(volume.voxels.shape, volume.spacing, wanted, strict=True))
    counts = [max(1, round(count * old / new)) for count, old, new in extent]
    along, down, across = (
        _triangle(count, new_count, new / old) for (count, old, new), new_count in zip(extent, counts, strict=True)
    )
    planes = np.empty((volume.voxels.shape[0], counts[1], counts[2]), dtype=np.float32)
    for index, plane in enumerate(volume.voxels):
        planes[index] = down @ plane.astype(np.float32) @ across.T
    block = np.tensordot(along, planes, axes=(1, 0))
    affine = volume.affine.copy()
    affine[:3, :3] *= np.asarray(wanted) / np.asarray(volume.spacing)
    voxels = np.clip(np.rint(block), LOWEST_HU, HIGHEST_HU).astype(np.int16)
    return replace(volume, voxels=voxels, affine=affine, sources=())


def _triangle(old_count: int, new_count: int, ratio: float) -> npt.NDArray[np.float32]:
    """Weights (new, old) of the triangle filter; new sample n lies at old index n * ratio."""
    centers = np.arange(new_count)[:, None] * ratio
    centers = np.minimum(centers, old_count - 1)
    width = max(1.0, ratio)
    weights = np.clip(1 - np.abs(np.arange(old_count)[None, :] - centers) / width, 0, None)
    weights /= weights.sum(axis=1, keepdims=True)
    single: npt.NDArray[np.float32] = weights.astype(np.float32)
    return single
