"""Makes a study: from a seed and wishes to volumes, DICOM files and the truth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from conformance.phantom.grid import Floats, Grid
from conformance.phantom.nodules import Nodule, Spec, SpecError
from conformance.phantom.patient import Pose, lie_down
from conformance.phantom.placement import axial_axes, diameter, lobe, measure
from conformance.phantom.render import Scan, slices
from conformance.phantom.scanner import KERNELS
from conformance.phantom.scene import Scene, compose

#: Below this diameter (mm) a shrunken nodule of a prior is not drawn: it was not there yet.
LEAST_MM = 1.5


#: What can be asked of the scanner: option, least, most.
_LIMITS = (
    ("seed", 0, 2**31),
    ("slices", 3, 2000),
    ("spacing", 0.4, 10.0),
    ("thickness", 0.4, 10.0),
    ("noise", 0.0, 300.0),
    ("matrix", 64, 1024),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wishes:
    """What the caller fixes; None leaves it to the seed. Raises SpecError for what no scanner does."""

    seed: int = 1
    nodules: tuple[Spec, ...] | None = None
    slices: int | None = None
    spacing: float | None = None
    thickness: float | None = None
    kernel: str | None = None
    noise: float | None = None
    matrix: int = 512

    def __post_init__(self) -> None:
        for name, least, most in _LIMITS:
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise SpecError(f"{name} {value}: must lie between {least} and {most}")
        if self.kernel is not None and self.kernel not in KERNELS:
            raise SpecError(f"kernel {self.kernel!r}: must be one of {', '.join(KERNELS)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """One nodule as it is in one study, scanner coordinates (LPS, mm)."""

    number: int
    center_mm: tuple[float, float, float]
    diameter_mm: float
    volume_mm3: float
    density: str
    #: Of the largest axial section, and the mean of the two.
    long_axis_mm: float
    short_axis_mm: float
    mean_diameter_mm: float
    solid_diameter_mm: float | None
    solid_volume_mm3: float | None
    #: Mean of the axes of the solid part's largest axial section.
    solid_mean_diameter_mm: float | None
    attachment: str
    margin: str
    side: str
    #: upper, middle or lower.
    lobe: str
    calcified: bool
    doubling_days: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """One time point: how it was scanned and what is in it."""

    scene: Scene
    scan: Scan
    truth: tuple[Truth, ...]
    when: date


@dataclass(frozen=True, kw_only=True, slots=True)
class Volume:
    """The reconstructed images: [slice, row, column], slices from feet to head."""

    hu: npt.NDArray[np.int16]
    lung: npt.NDArray[np.bool_]
    label: npt.NDArray[np.uint8]


def plan(wishes: Wishes, prior_days: Sequence[int] = ()) -> list[Study]:
    """The present study and one prior per entry of ``prior_days`` (days before it), the present first."""
    if any(days < 1 for days in prior_days):
        raise SpecError(f"prior days {list(prior_days)}: a prior must lie at least one day before the present study")
    scene = compose(wishes.seed, None if wishes.nodules is None else list(wishes.nodules))
    present = date(2024, 1, 1) + timedelta(days=int(np.random.default_rng([wishes.seed, 20]).integers(0, 600)))
    studies = []
    for number, days in enumerate((0, *prior_days)):
        then = replace(scene, nodules=tuple(n for n in (earlier(n, days) for n in scene.nodules) if n is not None))
        rng = np.random.default_rng([wishes.seed, 30, number])
        pose = lie_down(rng)
        scan = _scan(then, pose, wishes, rng, number)
        studies.append(Study(scene=then, scan=scan, truth=_truth(then, pose), when=present - timedelta(days=days)))
    return studies


def earlier(nodule: Nodule, days: int) -> Nodule | None:
    """The nodule ``days`` before: V(t) = V 2^(-t/VDT); None where it was too small to be drawn."""
    if days == 0 or nodule.doubling_days == 0.0:
        return nodule
    factor = 2.0 ** (-days / nodule.doubling_days / 3.0)
    if nodule.requested * factor < LEAST_MM:
        return None
    core = nodule.core
    if core is not None:
        place = nodule.shape.center + factor * (core.center - nodule.shape.center)
        core = core.at(place, core.radius * factor)
    return replace(nodule, shape=nodule.shape.scaled(factor), core=core, requested=nodule.requested * factor)


def render(study: Study) -> Volume:
    """The whole study in memory."""
    grid = study.scan.grid
    hu = np.empty(grid.shape, dtype=np.int16)
    lung = np.empty(grid.shape, dtype=np.bool_)
    label = np.empty(grid.shape, dtype=np.uint8)
    for k, (image, inside, numbers) in enumerate(slices(study.scene, study.scan)):
        hu[k], lung[k], label[k] = image, inside, numbers
    return Volume(hu=hu, lung=lung, label=label)


def _scan(scene: Scene, pose: Pose, wishes: Wishes, rng: np.random.Generator, number: int) -> Scan:
    kernel = wishes.kernel or str(rng.choice(list(KERNELS), p=(0.3, 0.45, 0.25)))
    low, high = _lung_box(scene, pose)
    reach = float(high[2] - low[2]) + 24.0
    spacing = wishes.spacing or (
        reach / wishes.slices if wishes.slices else float(rng.choice((2.5, 2.0, 1.25), p=(0.6, 0.3, 0.1)))
    )
    thickness = wishes.thickness or spacing
    count = wishes.slices or int(np.ceil(reach / spacing))
    field = float(np.clip((high[0] - low[0]) * rng.uniform(1.2, 1.7), 0.55 * 512, 0.9 * 512))
    pixel = round(field / wishes.matrix, 6)
    middle = 0.5 * (low + high) + np.array([rng.normal(0, 4), rng.normal(0, 4), 0.0])
    half = (wishes.matrix - 1) / 2 * pixel
    origin = np.round([middle[0] - half, middle[1] - half, middle[2] - (count - 1) / 2 * spacing], 3)
    grid = Grid(
        shape=(count, wishes.matrix, wishes.matrix),
        spacing=(spacing, pixel, pixel),
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
    )
    usual = KERNELS[kernel].noise * float(rng.uniform(0.7, 1.2)) / max(thickness, 0.8) ** 0.5
    noise = usual if wishes.noise is None else wishes.noise
    return Scan(
        grid=grid,
        pose=pose,
        kernel=kernel,
        noise=noise,
        thickness=thickness,
        circle=bool(rng.random() < 0.5),
        noise_seed=wishes.seed * 8 + number,
    )


def _lung_box(scene: Scene, pose: Pose) -> tuple[Floats, Floats]:
    fields = scene.fields
    cells = np.argwhere(fields.lung < 0.0)[::7, ::-1] * fields.grid.spacing[0] + np.asarray(fields.grid.origin)
    points = pose.to_scanner(cells)
    return points.min(axis=0), points.max(axis=0)


def _truth(scene: Scene, pose: Pose) -> tuple[Truth, ...]:
    return tuple(_true(nodule, scene, pose) for nodule in scene.nodules)


def _true(nodule: Nodule, scene: Scene, pose: Pose) -> Truth:
    whole = solid = measure(nodule.shape, scene.fields, steps=56)
    if nodule.core is not None:
        solid = measure(nodule.core, scene.fields, inside=nodule.shape)
    has_solid = nodule.core is not None or nodule.density == "solid"
    long, short = axial_axes(nodule.shape, scene.fields, pose, whole)
    core, inside = (nodule.core, nodule.shape) if nodule.core is not None else (nodule.shape, None)
    of_solid = sum(axial_axes(core, scene.fields, pose, solid, inside)) / 2
    x, y, z = (round(float(v), 2) for v in pose.to_scanner(whole.center[None])[0])
    return Truth(
        number=nodule.number,
        center_mm=(x, y, z),
        diameter_mm=round(diameter(whole.volume), 2),
        volume_mm3=round(whole.volume, 2),
        long_axis_mm=round(long, 2),
        short_axis_mm=round(short, 2),
        mean_diameter_mm=round((long + short) / 2, 2),
        density=nodule.density,
        solid_diameter_mm=round(diameter(solid.volume), 2) if has_solid else None,
        solid_volume_mm3=round(solid.volume, 2) if has_solid else None,
        solid_mean_diameter_mm=round(of_solid, 2) if has_solid else None,
        attachment=nodule.attachment,
        margin=nodule.margin,
        side="left" if whole.center[0] > 0 else "right",
        lobe=lobe(whole.center, scene.fields),
        calcified=nodule.calcium is not None,
        doubling_days=round(nodule.doubling_days, 1),
    )
