"""Between pixels and patient: PS3.3 C.7.6.2.1.1, with SCOORD's origin at the corner of the first pixel (C.18.6.1.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from dicom_sr.findings import Point

Vector = NDArray[np.float64]

#: How far two images of one volume may differ in direction or spacing (mm): headers are decimal strings.
_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Plane:
    """Where one image lies in the patient, mm."""

    #: Centre of the first pixel.
    position: Vector
    #: Unit vector along a row (rising column index).
    row: Vector
    #: Unit vector along a column (rising row index).
    column: Vector
    #: (between rows, between columns), mm.
    spacing: tuple[float, float]
    rows: int
    columns: int

    @property
    def normal(self) -> Vector:
        """Unit vector across the plane."""
        return np.cross(self.row, self.column)

    def to_pixel(self, point: Point) -> tuple[float, float]:
        """The SCOORD (column, row) of a patient point's projection onto the plane."""
        offset = np.asarray(point) - self.position
        column = float(offset @ self.row) / self.spacing[1] + 0.5
        row = float(offset @ self.column) / self.spacing[0] + 0.5
        return column, row

    def to_patient(self, column: float, row: float) -> Point:
        """The patient point, mm, of a SCOORD (column, row)."""
        along = (column - 0.5) * self.spacing[1] * self.row + (row - 0.5) * self.spacing[0] * self.column
        x, y, z = (float(value) for value in self.position + along)
        return x, y, z

    def is_parallel(self, other: "Plane") -> bool:
        """Whether both are images of one volume: the same directions, spacing and size."""
        same_grid = (self.rows, self.columns) == (other.rows, other.columns)
        pairs = ((self.row, other.row), (self.column, other.column), (self.spacing, other.spacing))
        return same_grid and all(np.allclose(one, another, atol=_TOLERANCE) for one, another in pairs)

    def distance(self, point: Point) -> float:
        """How far a patient point is from the plane, mm."""
        return abs(float((np.asarray(point) - self.position) @ self.normal))


def _first(groups: Any, sequence: str, keyword: str) -> Any:
    for group in groups:
        if group is not None and sequence in group and group[sequence].value:
            value = group[sequence].value[0].get(keyword)
            if value is not None:
                return value
    return None


def plane(dataset: Dataset, frame_number: int | None = None) -> Plane | None:
    """The plane of an image or of one frame of it (PS3.3 C.7.6.16.2); None where the headers don't say."""
    if frame_number is not None and "PerFrameFunctionalGroupsSequence" in dataset:
        frames = dataset.PerFrameFunctionalGroupsSequence
        if not 0 < frame_number <= len(frames):
            return None
        shared = dataset.get("SharedFunctionalGroupsSequence") or [None]
        groups = (frames[frame_number - 1], shared[0])
        position = _first(groups, "PlanePositionSequence", "ImagePositionPatient")
        orientation = _first(groups, "PlaneOrientationSequence", "ImageOrientationPatient")
        spacing = _first(groups, "PixelMeasuresSequence", "PixelSpacing")
    else:
        position, orientation = dataset.get("ImagePositionPatient"), dataset.get("ImageOrientationPatient")
        spacing = dataset.get("PixelSpacing")
    return _plane(dataset, position, orientation, spacing)


def _plane(dataset: Dataset, position: Any, orientation: Any, spacing: Any) -> Plane | None:
    rows, columns = dataset.get("Rows"), dataset.get("Columns")
    if not position or not orientation or not spacing or not rows or not columns:
        return None
    if (len(position), len(orientation), len(spacing)) != (3, 6, 2) or min(float(step) for step in spacing) <= 0:
        return None
    cosines = np.asarray([float(value) for value in orientation])
    return Plane(
        position=np.asarray([float(value) for value in position]),
        row=cosines[:3],
        column=cosines[3:],
        spacing=(float(spacing[0]), float(spacing[1])),
        rows=int(rows),
        columns=int(columns),
    )


def nearest(point: Point, planes: Sequence[Plane | None]) -> int | None:
    """Index of the plane that a patient point lies nearest to; None where no plane is known."""
    distances = [(p.distance(point), index) for index, p in enumerate(planes) if p is not None]
    return min(distances)[1] if distances else None


def bounding_rectangle(graphic_type: str, points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """The five points of the closed rectangle, along the image's axes, around a graphic (PS3.3 C.18.6.1.2)."""
    corners = np.asarray(points, dtype=float)
    if graphic_type == "CIRCLE":
        radius = float(np.hypot(*(corners[1] - corners[0])))
        low, high = corners[0] - radius, corners[0] + radius
    else:
        low, high = corners.min(axis=0), corners.max(axis=0)
    # A point, or a line along an axis, gets the width of one pixel: a rectangle without area can't be drawn.
    thin = (high - low) < 1
    middle = (low + high) / 2
    low, high = np.where(thin, middle - 0.5, low), np.where(thin, middle + 0.5, high)
    left, top, right, bottom = float(low[0]), float(low[1]), float(high[0]), float(high[1])
    return (left, top), (right, top), (right, bottom), (left, bottom), (left, top)
