"""What a reader would not call a nodule though it stands out: scars, bands, plugged bronchi, vessel stubs, specks."""

from dataclasses import dataclass

import numpy as np

from conformance.phantom.anatomy import Fields
from conformance.phantom.grid import Floats, sample
from conformance.phantom.nodules import Nodule, Shape
from conformance.phantom.patient import Patient
from conformance.phantom.tubes import Tubes, chain, joined, nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class Lookalikes:
    """Benign structures in the lung; none of them is in the truth."""

    #: Elongated, soft tissue.
    strands: Tubes
    #: Under 2 mm, soft tissue or calcified.
    specks: Tubes
    calcified: Tubes
    #: Flat (plate-like) bands with their HU.
    bands: tuple[tuple[Shape, float], ...]


def strew(
    patient: Patient, fields: Fields, vessels: Tubes, nodules: list[Nodule], rng: np.random.Generator
) -> Lookalikes:
    """As many of each kind as the patient's burden says, none touching a nodule."""
    maker = _Maker(patient, fields, nodules, rng)
    amount = patient.burden
    strands = [maker.scar() for _ in range(rng.poisson(7 * amount))]
    strands += [maker.stub(vessels) for _ in range(rng.poisson(16 * amount))]
    strands += [maker.plug(vessels) for _ in range(rng.poisson(3 * amount))]
    specks = [maker.speck() for _ in range(rng.poisson(9 * amount))]
    calcified = [maker.speck() for _ in range(rng.poisson(3 * amount))]
    bands = [maker.band() for _ in range(rng.poisson(3 * amount))]
    return Lookalikes(
        strands=_clear(joined(nothing(), *strands), nodules),
        specks=_clear(joined(nothing(), *specks), nodules),
        calcified=_clear(joined(nothing(), *calcified), nodules),
        bands=tuple(band for band in bands if all(_far(band[0], nodule) for nodule in nodules)),
    )


def _far(shape: Shape, nodule: Nodule) -> bool:
    return float(np.linalg.norm(shape.center - nodule.shape.center)) > 26.0 + nodule.shape.radius


def _clear(tubes: Tubes, nodules: list[Nodule]) -> Tubes:
    keep = np.ones(len(tubes), dtype=np.bool_)
    for nodule in nodules:
        gap = np.linalg.norm(0.5 * (tubes.start + tubes.end) - nodule.shape.center, axis=1)
        keep &= gap > nodule.shape.radius * 1.4 + 6.0
    return tubes.where(keep)


class _Maker:
    """Draws single lookalikes."""

    def __init__(self, patient: Patient, fields: Fields, nodules: list[Nodule], rng: np.random.Generator) -> None:
        self._patient = patient
        self._fields = fields
        self._rng = rng
        self._nodules = nodules
        grid = fields.grid
        shell = np.argwhere((fields.lung < -1.0) & (fields.lung > -9.0))
        deep = np.argwhere(fields.lung < -4.0)
        self._shell = shell[:, ::-1] * grid.spacing[0] + np.asarray(grid.origin)
        self._deep = deep[:, ::-1] * grid.spacing[0] + np.asarray(grid.origin)

    def _pick(self, points: Floats) -> Floats:
        out: Floats = points[int(self._rng.integers(len(points)))] + self._rng.uniform(-1.5, 1.5, 3)
        return out

    def _walk(self, start: Floats, length: float, count: int, bend: float) -> Floats:
        heading = self._rng.standard_normal(3)
        heading = heading / np.linalg.norm(heading)
        line = [start]
        for _ in range(count):
            heading = heading + bend * self._rng.standard_normal(3)
            heading = heading / np.linalg.norm(heading)
            line.append(line[-1] + heading * length / count)
        return np.array(line)

    def _kept(self, line: Floats, radii: Floats) -> Tubes:
        tubes = chain(line, radii)
        return tubes.where(sample(self._fields.lung, self._fields.grid, 0.5 * (tubes.start + tubes.end)) < 0.5)

    def scar(self) -> Tubes:
        """A fibrotic strand that comes from the pleura, 15 to 45 mm long."""
        line = self._walk(self._pick(self._shell), float(self._rng.uniform(15, 45)), 6, 0.22)
        return self._kept(line, self._rng.uniform(0.5, 1.3, 7))

    def stub(self, vessels: Tubes) -> Tubes:
        """A short fat side branch, longer than wide, whose end looks round in one slice."""
        suited = np.flatnonzero((vessels.start_radius > 0.9) & (vessels.start_radius < 3.0))
        k = int(self._rng.choice(suited))
        radius = float(vessels.start_radius[k]) * self._rng.uniform(0.9, 1.25)
        line = self._walk(vessels.start[k], radius * self._rng.uniform(5.0, 9.0), 3, 0.35)
        return self._kept(line, radius * np.array([1.0, 1.05, 1.0, 0.55]))

    def plug(self, vessels: Tubes) -> Tubes:
        """A mucus-filled bronchus: a stout branching finger."""
        suited = np.flatnonzero((vessels.start_radius > 0.8) & (vessels.start_radius < 1.8))
        start = vessels.start[int(self._rng.choice(suited))]
        radius = self._rng.uniform(1.4, 2.4)
        stem = self._walk(start, self._rng.uniform(12, 20), 4, 0.2)
        parts = [self._kept(stem, radius * np.array([0.8, 1.0, 1.1, 1.0, 0.9]))]
        for _ in range(2):
            parts.append(
                self._kept(
                    self._walk(stem[-1], self._rng.uniform(7, 12), 3, 0.25), radius * np.array([0.85, 0.8, 0.7, 0.5])
                )
            )
        return joined(*parts)

    def speck(self) -> Tubes:
        """A dot below 2 mm."""
        start = self._pick(self._deep)
        radius = self._rng.uniform(0.5, 0.9)
        return self._kept(np.stack([start, start + 0.2 * self._rng.standard_normal(3)]), np.array([radius, radius]))

    def band(self) -> tuple[Shape, float]:
        """A plate of airless lung, 1 to 2 mm thick, mostly near the diaphragm."""
        candidates = np.stack([self._pick(self._deep) for _ in range(6)])
        center = candidates[int(np.argmin(candidates[:, 2]))]
        half = self._rng.uniform(9.0, 18.0)
        thick = self._rng.uniform(0.7, 1.3)
        radius = float((half * half * 0.6 * thick) ** (1 / 3))
        turn = np.linalg.qr(self._rng.standard_normal((3, 3)))[0]
        stretch = turn @ np.diag([radius / half, radius / (half * 0.6), radius / thick]) @ turn.T
        empty = np.zeros((1, 3))
        shape = Shape(
            center=center, radius=radius, stretch=stretch, directions=empty, heights=np.zeros(1), sharpness=np.ones(1)
        )
        return shape, float(self._rng.uniform(-350.0, -50.0))
