"""Where nodules go, how they look, and how large they truly are once the lung's border has clipped them."""

from dataclasses import dataclass

import numpy as np

from conformance.phantom.anatomy import Fields
from conformance.phantom.grid import Floats, sample
from conformance.phantom.nodules import DENSITIES, MARGINS, Nodule, Shape, Spec, SpecError, form
from conformance.phantom.patient import Pose
from conformance.phantom.tubes import Tubes


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A nodule's extent as its voxels have it, body coordinates."""

    volume: float
    center: Floats
    #: The cells counted, (n, 3), and their edge, mm.
    cells: Floats
    step: float


def measure(shape: Shape, fields: Fields, inside: Shape | None = None, steps: int = 40) -> Measured:
    """Volume (mm3) and centroid of a shape inside the lung (and inside another shape), by counting fine cells."""
    extent = shape.extent()
    step = max(2.0 * extent / steps, 0.05)
    ticks = np.arange(-extent, extent + step, step)
    offset = np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 3)
    points = _within(shape.center + offset, shape, fields, inside)
    center = points.mean(axis=0) if len(points) else shape.center
    return Measured(volume=len(points) * step**3, center=center, cells=points, step=step)


def _within(points: Floats, shape: Shape, fields: Fields, inside: Shape | None) -> Floats:
    points = points[shape.level(points) < 0.0]
    points = points[sample(fields.lung, fields.grid, points) < 0.0]
    return points if inside is None else points[inside.level(points) < 0.0]


def axial_axes(
    shape: Shape, fields: Fields, pose: Pose, measured: Measured, inside: Shape | None = None
) -> tuple[float, float]:
    """Long axis, and the widest extent at a right angle to it, of the largest axial section in the scanner (mm)."""
    cells = pose.to_scanner(measured.cells)
    if len(cells) == 0:
        return 0.0, 0.0
    levels = np.rint((cells[:, 2] - cells[:, 2].min()) / measured.step).astype(int)
    section = cells[levels == int(np.argmax(np.bincount(levels)))]
    low, high = section[:, :2].min(axis=0) - measured.step, section[:, :2].max(axis=0) + measured.step
    x, y = np.meshgrid(np.linspace(low[0], high[0], 200), np.linspace(low[1], high[1], 200))
    plane = np.stack([x.ravel(), y.ravel(), np.full(x.size, section[:, 2].mean())], axis=1)
    points = pose.to_scanner(_within(pose.to_body(plane), shape, fields, inside))[:, :2]
    turns = np.linspace(0.0, np.pi, 90, endpoint=False)
    widths = np.ptp(points @ np.stack([np.cos(turns), np.sin(turns)]), axis=0)
    longest = int(widths.argmax())
    return float(widths[longest]), float(widths[(longest + 45) % 90])


def lobe(point: Floats, fields: Fields) -> str:
    """The lobe that a body point lies in, by the fissures' sheets: upper, middle (right lung only) or lower."""
    above_oblique, above_horizontal = (
        float(sample(sheet, fields.grid, point[None])[0]) > 0.0 for sheet in (fields.oblique, fields.horizontal)
    )
    if not above_oblique:
        return "lower"
    return "upper" if above_horizontal else "middle"


def diameter(volume: float) -> float:
    """Volume-equivalent diameter: V = pi/6 d^3."""
    return float((6.0 * volume / np.pi) ** (1 / 3))


def sized(shape: Shape, wanted: float, fields: Fields) -> Shape:
    """The shape scaled about its centre until its clipped volume has the wanted diameter (mm)."""
    for _ in range(4):
        has = diameter(measure(shape, fields, steps=36).volume)
        if has <= 0.0:
            raise SpecError(
                f"nodule of {wanted} mm at {np.round(shape.center, 1).tolist()}: that place is not in the lung"
            )
        shape = shape.scaled(float(np.clip(wanted / has, 0.4, 2.5)))
    return shape


def drawn_specs(rng: np.random.Generator) -> list[Spec]:
    """A random set of 2 to 6 nodules that covers sizes and densities."""
    count = int(rng.integers(2, 7))
    share = (np.arange(count) + rng.random(count)) / count
    sizes = np.exp(np.log(3.5) + share * (np.log(26.0) - np.log(3.5)))
    densities = rng.permutation(["solid", "part-solid", "ground-glass", "solid", "solid", "ground-glass"][:count])
    specs = []
    for size, density in zip(sizes, densities, strict=True):
        fitting = "solid" if density == "part-solid" and size < 6.0 else str(density)
        specs.append(Spec(diameter=round(float(max(size, 4.5 if fitting != "solid" else 3.0)), 1), density=fitting))
    return specs


class Placer:
    """Puts nodules into one lung, none near another."""

    def __init__(self, fields: Fields, vessels: Tubes, airways: Tubes, rng: np.random.Generator) -> None:
        self._fields = fields
        self._vessels = vessels
        self._airways = airways.where(airways.start_radius > 1.4)
        self._rng = rng
        cells = np.argwhere(fields.lung < -1.0)
        self._inside = cells[:, ::-1] * fields.grid.spacing[0] + np.asarray(fields.grid.origin)
        self._taken: list[tuple[Floats, float]] = []

    def place(self, spec: Spec, number: int) -> Nodule:
        """A nodule for this spec; what the spec leaves open is drawn."""
        rng = self._rng
        density = spec.density or str(rng.choice(DENSITIES, p=(0.6, 0.18, 0.22)))
        margin = spec.margin or self._margin(density, spec.diameter)
        attachment = spec.attachment or str(rng.choice(("none", "vessel", "pleura"), p=(0.4, 0.3, 0.3)))
        shape = form(margin, rng)
        shape = shape.at(np.zeros(3), spec.diameter / 2.0)
        center = np.asarray(spec.at) if spec.at else self._find(spec.diameter / 2.0, attachment)
        shape = sized(shape.at(center, shape.radius), spec.diameter, self._fields)
        self._taken.append((center, spec.diameter / 2.0))
        return self._finish(spec, number, shape, density, attachment, margin)

    def _margin(self, density: str, size: float) -> str:
        weights = (0.4, 0.24, 0.16, 0.14, 0.06) if density == "solid" else (0.3, 0.2, 0.06, 0.2, 0.24)
        if size < 6.0:
            weights = (0.7, 0.15, 0.0, 0.15, 0.0)
        return str(self._rng.choice(MARGINS, p=weights))

    def _finish(self, spec: Spec, number: int, shape: Shape, density: str, attachment: str, margin: str) -> Nodule:
        rng = self._rng
        hu = float(rng.uniform(5.0, 90.0) if density == "solid" else rng.uniform(-700.0, -500.0))
        core = None
        if density == "part-solid":
            size = spec.diameter * rng.uniform(0.35, 0.7)
            shift = rng.standard_normal(3) * 0.08 * spec.diameter
            core = form("irregular", rng).at(shape.center + shift, size / 2.0)
        calcified = density == "solid" and margin in ("circumscribed", "lobulated") and rng.random() < 0.15
        days = spec.doubling_days
        if days is None:
            days = float(np.exp(rng.uniform(np.log(120.0), np.log(900.0)))) if rng.random() < 0.7 else 0.0
        return Nodule(
            number=number, shape=shape, density=density, attachment=attachment, margin=margin, hu=hu, core=core,
            core_hu=float(rng.uniform(-20.0, 60.0)), calcium=float(rng.uniform(250.0, 700.0)) if calcified else None,
            doubling_days=days, fade=2.6 if margin == "ill-defined" else (0.8 if density == "solid" else 1.4),
            requested=spec.diameter,
        )  # fmt: skip

    def _find(self, radius: float, attachment: str) -> Floats:
        """A random centre that suits the attachment, clear of other nodules and of the great airways."""
        best, best_score = None, -np.inf
        for _ in range(60):
            center = self._candidate(radius, attachment)
            score = self._clearance(center, radius, attachment)
            if score > best_score:
                best, best_score = center, score
            if score >= 0.0:
                break
        if best is None or best_score < -1e6:
            raise SpecError(
                f"no place left in the lung for a nodule of {2 * radius} mm, {attachment}; ask for fewer nodules"
            )
        return best

    def _candidate(self, radius: float, attachment: str) -> Floats:
        rng = self._rng
        if attachment == "vessel":
            suited = np.flatnonzero((self._vessels.start_radius > 0.7) & (self._vessels.start_radius < 2.6))
            k = int(rng.choice(suited))
            along = self._vessels.end[k] - self._vessels.start[k]
            across = np.cross(along, rng.standard_normal(3))
            across = across / max(float(np.linalg.norm(across)), 1e-6)
            point: Floats = 0.5 * (self._vessels.start[k] + self._vessels.end[k])
            return point + across * (0.75 * radius + float(self._vessels.start_radius[k]))
        jitter = rng.uniform(-1.5, 1.5, 3)
        out: Floats = self._inside[int(rng.integers(len(self._inside)))] + jitter
        if attachment == "pleura":
            return self._towards_pleura(out, rng.uniform(0.25, 0.8) * radius)
        return out

    def _towards_pleura(self, point: Floats, depth: float) -> Floats:
        """Walk down the lung field's gradient until the pleura is ``depth`` away."""
        unit = np.eye(3) * 2.0
        for _ in range(25):
            around = sample(self._fields.lung, self._fields.grid, np.concatenate([[point], point + unit, point - unit]))
            slope = (around[1:4] - around[4:7]) / 4.0
            steep = float(np.linalg.norm(slope))
            away = -depth - around[0]
            if abs(away) < 0.3 or steep < 0.05:
                break
            point = point + slope / steep * np.clip(away / steep, -12.0, 12.0)
        return point

    def _clearance(self, center: Floats, radius: float, attachment: str) -> float:
        """0 or more where the place is good; the more negative, the worse."""
        depth = -float(sample(self._fields.lung, self._fields.grid, center[None])[0])
        for other, reach in self._taken:
            if np.linalg.norm(other - center) < reach + radius + 10.0:
                return -1e7
        if depth < (radius + 2.5 if attachment == "none" else 0.2 * radius):
            return -1e7 if depth < 0.0 else -1e3 - radius - 2.5 + depth
        score = 0.0
        for tubes, least, slack in (
            (self._airways, 0.0, 1.0),
            (self._vessels, 2.6 if attachment == "vessel" else 1.3, 0.5),
        ):
            large = tubes.start_radius > least
            middle = 0.5 * (tubes.start[large] + tubes.end[large])
            gap = np.linalg.norm(middle - center, axis=1) - tubes.start_radius[large] - radius - slack
            score = min(score, float(gap.min(initial=0.0)) + (0.4 * radius if attachment == "pleura" else 0.0))
        return score
