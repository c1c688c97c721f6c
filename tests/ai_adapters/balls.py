"""Nodules of known size in a piece of lung, blurred and noisy as a scanner makes them, and a rough region of it."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ai_adapters.measure import Region
from ai_adapters.volume import Volume
from dicom_sr.findings import ImageReference

#: Sub-samples of a voxel along each axis, and the lung's HU.
_FINE, LUNG = 3, -860.0
#: A millimetre of a fissure is denser than lung by this.
_FISSURE = 300.0
CT = "1.2.840.10008.5.1.4.1.1.2"


def scan(
    *layers: tuple[float, float],
    spacing: tuple[float, float, float] = (1.25, 0.7, 0.7),
    tube_mm: float = 0.0,
    wall_mm: float | None = None,
    sheet_mm: float | None = None,
    noise: float = 15.0,
    rough_mm: float = 0.0,
) -> tuple[Volume, Region, tuple[float, float, float]]:
    """A 40 mm cube with concentric balls (diameter, HU), the network's region and the centre (patient, mm).

    ``tube_mm`` is the radius of a vessel beside the ball, ``wall_mm`` how deep the chest wall cuts into it,
    ``sheet_mm`` how far a fissure passes from the middle, ``rough_mm`` by how much the region is too large.
    """
    counts = [round(40 / step) for step in spacing]
    fine = [(np.arange(n * _FINE) + 0.5) / _FINE * step - 20 for n, step in zip(counts, spacing, strict=True)]
    z, y, x = np.meshgrid(*fine, indexing="ij", sparse=True)
    away = np.sqrt((z - 0.3) ** 2 + (y - 0.2) ** 2 + (x + 0.1) ** 2)
    hu = np.full(away.shape, LUNG, dtype=np.float32)
    if sheet_mm is not None:
        hu[(np.abs(0.6 * z + 0.8 * y - sheet_mm) < 0.5) & np.ones_like(away, dtype=bool)] += _FISSURE
    for diameter, density in layers:
        hu[away < diameter / 2] = density
    radius = layers[0][0] / 2
    hu[(np.hypot(z, x - radius) < tube_mm) & np.ones_like(away, dtype=bool)] = 40
    inside = np.ones(away.shape, dtype=bool) if wall_mm is None else (x < radius - wall_mm) & (away > -1)
    hu[~inside] = 40
    hu = ndimage.gaussian_filter(hu, [0.1, *(0.5 / (step / _FINE) for step in spacing[1:])])
    voxels = _binned(hu) + np.random.default_rng(1).normal(0, noise, counts)
    share = _binned(((away < radius + rough_mm) & inside).astype(np.float32))
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = *spacing, 1
    affine[:3, 3] = [(step - 40) / 2 for step in reversed(spacing)]
    sources = tuple(
        ImageReference(sop_class_uid=CT, sop_instance_uid=f"2.25.7{n:03d}", series_instance_uid="2.25.6")
        for n in range(counts[0])
    )
    volume = Volume(
        voxels=np.rint(voxels).astype(np.int16),
        affine=affine,
        sources=sources,
        study_instance_uid="2.25.5",
        frame_of_reference_uid="2.25.4",
    )
    return volume, Region(origin=(0, 0, 0), share=share), (-0.1, 0.2, 0.3)


def _binned(fine: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    shape = [part for count in fine.shape for part in (count // _FINE, _FINE)]
    mean: npt.NDArray[np.float32] = fine.reshape(shape).mean(axis=(1, 3, 5))
    return mean
