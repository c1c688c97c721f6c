"""Lungs and findings as surfaces: what the page draws in three dimensions.

Findings come from the masks that the SEG has, lungs from the air inside the body on small pictures of the images, which
the pixel workers draw: it is a picture to find one's way by, not a measurement.
"""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from scipy import ndimage

from dicom_sr.findings import Finding, Findings
from dicom_sr.geometry import plane
from dicom_sr.voxels import unpack
from server.imaging.pixels import PixelData
from server.imaging.rendering import Rendering, Viewport
from server.imaging.surface import Surface, surface
from server.security.access import Access
from server.store.studies import Located
from server.workflow.images import StudyImages

#: Edge of the small pictures, and how many of them at most.
_EDGE, _SLICES = 128, 96
#: The window's middle is where air ends (HU).
_AIR = (-400.0, 400.0, "linear")
#: The least share of the picture that a lung has, as a volume.
_LEAST = 0.004


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One surface in patient coordinates (LPS), mm."""

    #: Tracking UID of a finding; empty for the lungs.
    tracking_uid: str
    #: x, y, z of each vertex, one after the other.
    positions: NDArray[np.float32]
    triangles: NDArray[np.uint32]

    def plain(self) -> dict[str, Any]:
        """As JSON has it, to a tenth of a millimetre."""
        return {
            "tracking_uid": self.tracking_uid,
            "positions": np.round(self.positions, 1).ravel().tolist(),
            "triangles": self.triangles.ravel().tolist(),
        }


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """From voxel indices to the patient."""

    origin: NDArray[np.float64]
    #: Steps along slice, row and column, mm, one in each row.
    steps: NDArray[np.float64]

    def shape(self, found: Surface, offset: tuple[float, ...], scale: tuple[float, ...], uid: str) -> Shape:
        """A surface of a part of the grid, which starts at ``offset`` and is coarser by ``scale``."""
        at = found.vertices.astype(float) * np.array(scale) + np.array(offset)
        triangles = found.triangles
        if np.linalg.det(self.steps) < 0:
            triangles = triangles[:, ::-1]
        return Shape(
            tracking_uid=uid, positions=(self.origin + at @ self.steps).astype(np.float32), triangles=triangles
        )


def shapes(pixels: PixelData, access: Access, images: StudyImages, findings: Findings) -> list[Shape]:
    """The lungs, where the images show any, then every finding that has a mask or a size."""
    headers = {str(one.SOPInstanceUID): one for one in images.of_series(s.sop_instance_uid for s in findings.sources)}
    volume = [headers[source.sop_instance_uid] for source in findings.sources if source.sop_instance_uid in headers]
    grid = _grid(volume)
    if grid is None or len(volume) != len(findings.sources):
        return []
    found = [_finding(finding, grid) for finding in findings.findings]
    return [*_lungs(pixels, access, images, volume, grid), *(shape for shape in found if shape is not None)]


def _grid(volume: Sequence[Dataset]) -> _Grid | None:
    planes = [plane(header) for header in ((volume[0], volume[-1]) if len(volume) > 1 else ())]
    if len(planes) < 2 or planes[0] is None or planes[1] is None:
        return None
    first, last = planes[0], planes[1]
    across = (last.position - first.position) / (len(volume) - 1)
    if not np.linalg.norm(across):
        return None
    steps = np.stack([across, first.column * first.spacing[0], first.row * first.spacing[1]])
    return _Grid(origin=first.position, steps=steps)


def _finding(finding: Finding, grid: _Grid) -> Shape | None:
    if finding.mask is not None:
        origin = tuple(float(value) for value in finding.mask.origin)
        return grid.shape(surface(unpack(finding.mask)), origin, (1.0, 1.0, 1.0), finding.tracking_uid)
    lengths = [m.value for m in finding.measurements if m.unit.value == "mm"]
    if finding.center_mm is None or not lengths:
        return None
    return _ball(finding.center_mm, sum(lengths) / len(lengths) / 2, finding.tracking_uid)


def _ball(center: tuple[float, float, float], radius: float, uid: str) -> Shape:
    """What stands for a finding that nobody segmented."""
    inside = (np.indices((17, 17, 17)) - 8.0).__pow__(2).sum(axis=0) <= 36
    found = surface(inside)
    at = np.array(center) + (found.vertices[:, ::-1] - 8.0) * (radius / 6)
    return Shape(tracking_uid=uid, positions=at.astype(np.float32), triangles=found.triangles[:, ::-1])


def _lungs(
    pixels: PixelData, access: Access, images: StudyImages, volume: Sequence[Dataset], grid: _Grid
) -> list[Shape]:
    step = -(-len(volume) // _SLICES)
    places = {place.instance: place for place in images.located}
    wanted = [places[str(header.SOPInstanceUID)] for header in volume[::step]]
    with ThreadPoolExecutor(4, "shapes") as threads:
        pictures = list(threads.map(lambda place: _small(pixels, access, place), wanted))
    if len({picture.shape for picture in pictures}) != 1:
        return []
    air = np.stack(pictures) < 128
    lungs = _inside(air)
    if not lungs.any():
        return []
    rows, columns = int(volume[0].Rows), int(volume[0].Columns)
    scale = (float(step), rows / air.shape[1], columns / air.shape[2])
    offset = (0.0, (scale[1] - 1) / 2, (scale[2] - 1) / 2)
    return [grid.shape(surface(lungs, 0.8), offset, scale, "")]


def _small(pixels: PixelData, access: Access, place: Located) -> NDArray[np.uint8]:
    wanted = Rendering(media_type="image/png", viewport=Viewport(width=_EDGE, height=_EDGE), window=_AIR)
    with Image.open(io.BytesIO(pixels.picture(access, place, [1], wanted))) as picture:
        return np.asarray(picture.convert("L"))


def _inside(air: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Air that does not reach the edge of a slice, of parts that are as large as a lung."""
    outside = np.zeros_like(air)
    for index, one in enumerate(air):
        labels, _ = ndimage.label(one)
        edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
        outside[index] = np.isin(labels, edge[edge > 0])
    labels, count = ndimage.label(ndimage.binary_opening(air & ~outside))
    if not count:
        return outside & False
    sizes = np.bincount(labels.ravel())
    large = [number for number in range(1, count + 1) if sizes[number] >= _LEAST * air.size]
    return np.asarray(ndimage.binary_closing(np.isin(labels, large), iterations=2))
