"""A CT as it might look at the next visit: another place on the table, a turn, and another breath.

The breath moves the base of the lungs along the body, most near the diaphragm and in front, and lets the top and the
spine nearly stay; small waves stand for what else is not rigid. Displacements are backward: the warped image shows at q
what the CT has at q + u(q), mm, patient coordinates (LPS).
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ai_adapters.volume import HIGHEST_HU, LOWEST_HU, Volume
from dicom_sr.findings import Point

Floats = npt.NDArray[np.float64]
#: Places (n, 3) in mm -> displacements (n, 3) in mm.
Field = Callable[[Floats], Floats]

#: The displacement is computed at every eighth voxel, and is linear between.
_CELL = 8
#: Turns (degrees) and shifts (mm) of a body on a table, standard deviations; height of the small waves, mm.
_TURN, _SHIFT, _WAVE = 2.0, 6.0, 1.5


def field(seed: int, volume: Volume, breath_mm: float = 17.0) -> Field:
    """A displacement drawn from ``seed``, with a breath of up to ``breath_mm`` at the base."""
    rng = np.random.default_rng(seed)
    last = np.array(volume.voxels.shape) - 1
    corners = np.array([volume.to_patient((0, 0, 0)), volume.to_patient(last.tolist())])
    middle, extent = corners.mean(axis=0), np.abs(corners[1] - corners[0])
    turn = _rotation(np.radians(rng.normal(0, _TURN, 3)))
    shift = rng.normal(0, _SHIFT, 3)
    base = rng.uniform(0.6, 1) * breath_mm * rng.choice([-1, 1])
    forward = rng.uniform(0.2, 0.4) * breath_mm * rng.choice([-1, 1])
    phase = rng.uniform(0, 2 * np.pi, 3)
    waves = rng.uniform(0.6, 1.2, (3, 3)) * 2 * np.pi / extent

    def displacement(places: Floats) -> Floats:
        share = (places - middle) / extent
        moved: Floats = (places - middle) @ turn.T + middle - places + shift
        down = np.clip(0.5 - share[..., 2], 0, 1) ** 1.5
        moved[..., 2] += base * down * (0.6 + 0.4 * np.sin(np.pi * np.clip(share[..., 0] + 0.5, 0, 1)))
        moved[..., 1] += forward * down * np.clip(0.5 - share[..., 1], 0, 1)
        for axis in range(3):
            moved[..., axis] += _WAVE * np.sin(places @ waves[axis] + phase[axis])
        return moved

    return displacement


def _rotation(angles: Floats) -> Floats:
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    turn: Floats = about_z @ about_y @ about_x
    return turn


def warp(volume: Volume, displacement: Field) -> Volume:
    """The CT as the displacement shows it, on the same grid."""
    shape = volume.voxels.shape
    axes = [np.arange(0, n + _CELL - 1, _CELL) for n in shape]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), -1).astype(float)
    frame = volume.affine[:3, :3]
    steps = displacement(nodes @ frame.T + volume.affine[:3, 3]) @ np.linalg.inv(frame).T
    rows, columns = (grid.astype(float) for grid in np.meshgrid(*map(np.arange, shape[1:]), indexing="ij"))
    warped = np.empty_like(volume.voxels)
    for index in range(shape[0]):
        here = (np.full(rows.shape, float(index)), rows, columns)
        at = np.stack(here) / _CELL
        sources = [base + ndimage.map_coordinates(steps[..., a], at, order=1) for a, base in enumerate(here)]
        plane = ndimage.map_coordinates(volume.voxels, sources, order=1, mode="nearest")
        warped[index] = np.clip(plane, LOWEST_HU, HIGHEST_HU)
    return replace(volume, voxels=warped)


def moved(point: Point, displacement: Field) -> Point:
    """Where the warped image shows a place of the CT: the q with q + u(q) = point, by fixed-point iteration."""
    place = np.array(point, dtype=float)
    for _ in range(60):
        place = np.array(point) - displacement(place[None])[0]
    return (float(place[0]), float(place[1]), float(place[2]))


def swelling(point: Point, displacement: Field) -> float:
    """The volume of a small thing there in the warped image over its volume in the CT: 1 / det(1 + grad u)."""
    place = np.array(moved(point, displacement))
    step = 0.5
    ends = np.array([[place + sign * step * axis for sign in (1, -1)] for axis in np.eye(3)])
    gradient = (displacement(ends[:, 0]) - displacement(ends[:, 1])).T / (2 * step)
    return float(1 / np.linalg.det(np.eye(3) + gradient))
