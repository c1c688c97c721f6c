"""Large organs as implicit surfaces on a coarse grid: signed distances in mm, negative inside.

Proportions follow an adult's chest as anatomy atlases give it; they aim at plausible images, not at measured norms.
"""

from dataclasses import dataclass
from dataclasses import fields as dataclass_fields

import numpy as np
from scipy.ndimage import affine_transform

from conformance.phantom.grid import Floats, Grid, Lattice, as_distance
from conformance.phantom.patient import Patient, Pose

#: Step of the coarse grid, mm.
STEP = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Fields:
    """Everything large, on one coarse grid."""

    grid: Grid
    #: Signed distances, mm.
    body: Floats
    muscle: Floats
    cavity: Floats
    lung: Floats
    heart: Floats
    dome: Floats
    bone: Floats
    canal: Floats
    #: The fissures' sheets: signed, zero on the sheet; large where there is none.
    oblique: Floats
    horizontal: Floats
    #: HU of lung tissue without its vessels.
    tissue: Floats
    #: Body x (mm): left lung where positive.
    side: Floats
    #: Unit noise of about 8 mm, for fat between muscles.
    marbling: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class _Frame:
    """Body coordinates of every coarse voxel, and the noise fixed to the patient."""

    x: Floats
    y: Floats
    z: Floats
    #: Smooth variation with a wavelength of about 50, 25 and 9 mm.
    broad: Floats
    middle: Floats
    fine: Floats


def build(patient: Patient, seed: int) -> Fields:
    """All fields of a patient in body coordinates; the same seed gives the same anatomy."""
    grid = _body_grid(patient)
    f = _frame(grid, seed)
    cavity = as_distance(_cavity(patient, f), grid) + 1.6 * f.broad
    dome = as_distance(_dome(patient, f), grid) + 1.2 * f.broad
    heart = as_distance(_heart(patient, f), grid) + 1.5 * f.broad
    bone, spine = _spine(patient, f)
    mediastinum = _mediastinum(patient, f, heart, spine) + 1.5 * f.middle
    lung = np.maximum(np.maximum(cavity + 2.5, 2.0 - dome), np.maximum(-mediastinum, 1.2 - np.abs(f.x + 4.0 * f.broad)))
    lung = lung + _apical_caps(patient, f)
    muscle = _muscle(patient, f, cavity, grid)
    oblique, horizontal = _fissures(patient, f)
    fields = {
        "body": muscle - patient.fat * _fat_profile(patient, f), "muscle": muscle, "cavity": cavity, "lung": lung,
        "heart": heart, "dome": dome, "bone": bone, "canal": _canal(patient, f),
        "oblique": oblique, "horizontal": horizontal, "tissue": _tissue(patient, f, lung),
        "side": f.x, "marbling": f.fine,
    }  # fmt: skip
    full = {name: np.ascontiguousarray(np.broadcast_to(v, grid.shape), dtype=np.float32) for name, v in fields.items()}
    return Fields(grid=grid, **full)


def posed(fields: Fields, pose: Pose, grid: Grid) -> Fields:
    """The fields as they lie in the scanner, on a coarse grid around the scan's."""
    coarse = grid.coarse(STEP)
    steps = np.diag(coarse.spacing) / np.asarray(fields.grid.spacing)[:, None]
    # Array axes run z, y, x; the turn is written for x, y, z.
    matrix = pose.turn.T[::-1, ::-1] @ steps
    first = pose.to_body(np.asarray(coarse.origin)) - np.asarray(fields.grid.origin)
    offset = first[::-1] / np.asarray(fields.grid.spacing)
    moved = {
        spec.name: affine_transform(
            getattr(fields, spec.name), matrix, offset, output_shape=coarse.shape, order=1, mode="nearest"
        )
        for spec in dataclass_fields(fields)
        if spec.name != "grid"
    }
    return Fields(grid=coarse, **moved)


def _body_grid(patient: Patient) -> Grid:
    low = np.array([-246.0, -186.0, patient.bottom - 36.0])
    high = np.array([246.0, 186.0, patient.top + 48.0])
    count = np.ceil((high - low) / STEP).astype(int) + 1
    origin = (float(low[0]), float(low[1]), float(low[2]))
    return Grid(shape=(int(count[2]), int(count[1]), int(count[0])), spacing=(STEP,) * 3, origin=origin)


def _frame(grid: Grid, seed: int) -> _Frame:
    z, y, x = (grid.axis(k).astype(np.float32) for k in range(3))
    broad, middle, fine = (
        Lattice(np.random.default_rng([seed, 100 + n]), step).on(grid, (0.0, 0.0, 0.0))
        for n, step in enumerate((48.0, 22.0, 8.0))
    )
    return _Frame(x=x[None, None, :], y=y[None, :, None], z=z[:, None, None], broad=broad, middle=middle, fine=fine)


def _ellipsoid(f: _Frame, center: tuple[float, float, float], axes: tuple[float, float, float]) -> Floats:
    out: Floats = np.sqrt(sum(((w - c) / a) ** 2 for w, c, a in zip((f.x, f.y, f.z), center, axes, strict=True))) - 1.0
    return out


def _capsule(f: _Frame, start: tuple[float, ...], end: tuple[float, ...], radii: tuple[float, float]) -> Floats:
    """Distance to a tapered tube with round ends."""
    a, along = np.asarray(start, dtype=np.float32), np.subtract(end, start).astype(np.float32)
    w = (f.x - a[0], f.y - a[1], f.z - a[2])
    t = np.clip(sum(v * d for v, d in zip(w, along, strict=True)) / np.float32((along**2).sum()), 0.0, 1.0)
    square = sum((v - t * d) ** 2 for v, d in zip(w, along, strict=True))
    out: Floats = np.sqrt(square) - (radii[0] + t * (radii[1] - radii[0]))
    return out


def _cavity(patient: Patient, f: _Frame) -> Floats:
    """The inside of the rib cage: a dome above, nearly a cylinder below."""
    q = np.clip((patient.top - f.z) / (0.62 * (patient.top - patient.bottom)), 0.004, 1.0)
    half_width = patient.cavity[0] * np.sqrt(1.0 - (1.0 - q) ** 2.3)
    half_depth = patient.cavity[1] * np.sqrt(1.0 - (1.0 - q) ** 2.7)
    y = f.y - (-6.0 + 24.0 * (1.0 - q)) * patient.scale
    # The back of the chest is flatter in the middle and deeper beside the spine than an ellipse.
    y = y - 7.0 * np.exp(-(((np.abs(f.x) - 55.0) / 30.0) ** 2)) * (y > 0)
    rho = (np.abs(f.x / half_width) ** 2.4 + np.abs(y / half_depth) ** 2.4) ** (1 / 2.4) - 1.0
    out: Floats = rho * np.minimum(half_width, half_depth) + np.maximum(f.z - patient.top, 0.0)
    return out


def _dome(patient: Patient, f: _Frame) -> Floats:
    """Height below the diaphragm, with its recesses at the back and the side."""
    left = f.x > 0
    peak = np.where(left, patient.dome[1], patient.dome[0])
    across = (np.abs(f.x) - 62.0 * patient.scale) / (patient.cavity[0] * 0.62)
    depth = (f.y + 18.0) / (patient.cavity[1] * 0.95)
    fall = across**2 * 34.0 + depth**2 * np.where(depth > 0, 62.0, 30.0)
    out: Floats = peak - fall * patient.scale - f.z
    return -out


def _heart(patient: Patient, f: _Frame) -> Floats:
    s = patient.scale
    # The long axis points down, forward and to the left.
    x, y, z = f.x - 22 * s, f.y + 38 * s, f.z + 74 * s
    long = 0.72 * x - 0.38 * y - 0.58 * z
    across = np.sqrt(np.maximum(x * x + y * y + z * z - long * long, 0.0))
    out: Floats = np.sqrt((long / (66 * s)) ** 2 + (across / (46 * s)) ** 2) - 1.0
    return out * 46 * s


def _spine(patient: Patient, f: _Frame) -> tuple[Floats, Floats]:
    """Vertebrae with their arches (bone), and the column that the lungs wrap around."""
    s = patient.scale
    y = f.y - patient.spine(f.z)
    level = 23.5 * s
    phase = np.abs(np.mod(f.z, level) / level - 0.5) * level
    body = np.sqrt((f.x / (16.5 * s)) ** 2 + (y / (14.0 * s)) ** 2) - 1.0
    waist = 1.6 * np.cos(phase / level * 2 * np.pi)
    bone = np.maximum(body * 14.0 * s + waist, phase - level / 2 + 2.2)
    arch = np.sqrt((f.x / (19 * s)) ** 2 + ((y - 27 * s) / (13 * s)) ** 2) - 1.0
    bone = np.minimum(bone, np.maximum(arch * 13 * s, phase - 8.0))
    spinous = np.maximum(np.abs(f.x) - 3.5 * s, np.maximum(np.abs(y - 50 * s) - 19 * s, np.abs(phase - 2.0) - 8.0))
    bone = np.minimum(bone, spinous)
    across = np.sqrt((np.abs(f.x) - 26 * s) ** 2 + (y - 26 * s) ** 2 + phase**2) - 7.5 * s
    bone = np.minimum(bone, across)
    column = (np.sqrt((f.x / (23 * s)) ** 2 + ((y - 5 * s) / (22 * s)) ** 2) - 1.0) * 22 * s
    behind = np.maximum(np.abs(f.x) - 26 * s, -(y - 10 * s))
    return bone, np.minimum(column, behind)


def _canal(patient: Patient, f: _Frame) -> Floats:
    y = f.y - patient.spine(f.z) - 23 * patient.scale
    out: Floats = (np.sqrt((f.x / 9.5) ** 2 + (y / 7.5) ** 2) - 1.0) * 8.0
    return out


def _mediastinum(patient: Patient, f: _Frame, heart: Floats, spine: Floats) -> Floats:
    s = patient.scale
    parts = [
        heart - 5.0,
        spine,
        _capsule(f, (4 * s, -18 * s, -70 * s), (0, -14 * s, 42 * s), (40 * s, 27 * s)),
        _capsule(f, (0, -14 * s, 42 * s), (0, 4 * s, 135 * s), (29 * s, 24 * s)),
        _capsule(f, (21 * s, 30 * s, -230 * s), (19 * s, 26 * s, 28 * s), (16 * s, 16 * s)),
        _capsule(f, (8 * s, 20 * s, -220 * s), (2 * s, 16 * s, 20 * s), (15 * s, 14 * s)),
        _capsule(f, (2 * s, 16 * s, 20 * s), (0, 16 * s, 130 * s), (14 * s, 16 * s)),
        _capsule(f, (14 * s, 12 * s, 36 * s), (22 * s, 24 * s, 12 * s), (17 * s, 16 * s)),
        _capsule(f, (-36 * s, -3 * s, -18 * s), (-50 * s, 0, -38 * s), (14 * s, 9 * s)),
        _capsule(f, (36 * s, -1 * s, -14 * s), (50 * s, 6 * s, -38 * s), (14 * s, 9 * s)),
        _capsule(f, (0, -0.9 * patient.cavity[1], -190 * s), (0, -1.02 * patient.cavity[1], 30 * s), (16 * s, 6 * s)),
    ]
    soft = np.float32(5.0)
    total = np.zeros_like(f.broad)
    for part in parts:
        total += np.exp(-np.clip(part / soft, -20, 20))
    out: Floats = -soft * np.log(total)
    return out


def _apical_caps(patient: Patient, f: _Frame) -> Floats:
    """Thickened pleura over the apices."""
    height = np.clip((f.z - patient.top + 32.0) / 25.0, 0.0, 1.0)
    out: Floats = height * np.clip(2.0 * patient.burden * (f.middle + 0.3), 0.0, 4.5)
    return out


def _muscle(patient: Patient, f: _Frame, cavity: Floats, coarse: Grid) -> Floats:
    """The outer border of the chest wall's muscles, with shoulder girdle above."""
    s = patient.scale
    upper = np.clip((f.z + 60.0 * s) / (120.0 * s), 0.0, 1.0)
    front = np.clip(-f.y / 60.0, 0.0, 1.0)
    beside = np.exp(-(((np.abs(f.x) - 62.0) / 34.0) ** 2))
    wall = patient.wall * (0.72 + 0.25 * upper) + 9.0 * front * upper * beside
    back = np.clip((f.y - 30.0) / 40.0, 0.0, 1.0)
    wall = wall + back * (
        13.0 * np.exp(-((f.x / 62.0) ** 4)) + 16.0 * upper * np.exp(-(((np.abs(f.x) - 90) / 40) ** 2))
    )
    shoulder = as_distance(_ellipsoid(f, (0, 22 * s, patient.top + 18 * s), (205 * s, 78 * s, 92 * s)), coarse)
    closeness = np.float32(14.0)
    low, high = np.minimum(cavity - wall, shoulder), np.maximum(cavity - wall, shoulder)
    out: Floats = low - closeness * 0.25 * np.clip(1 - (high - low) / closeness, 0, None) ** 2 + 1.5 * f.broad
    # Lying on the table flattens the back.
    flat = f.y - (patient.cavity[1] + 34.0 * s) + 1.5 * f.broad
    rounded: Floats = np.logaddexp(out / 4.0, flat / 4.0) * np.float32(4.0)
    return rounded


def _fat_profile(patient: Patient, f: _Frame) -> Floats:
    """Fat thickness relative to the side's; a woman's breasts are part of it."""
    front = np.clip(-f.y / (patient.cavity[1] + 20.0), -1.0, 1.0)
    out = 1.0 + 0.25 * front + 0.10 * f.broad
    if patient.sex == "F":
        bulge = np.exp(-(((np.abs(f.x) - 78) / 42) ** 2) - ((f.z + 55) / 42) ** 2) * np.clip(front * 1.8, 0, 1)
        out = out + bulge * (24.0 / patient.fat + 1.2)
    profile: Floats = np.clip(out, 0.35, 6.0)
    return profile


def _fissures(patient: Patient, f: _Frame) -> tuple[Floats, Floats]:
    """Sheets between the lobes: the oblique one of both sides, the horizontal one on the right."""
    s = patient.scale
    lean = np.where(f.x > 0, 1.05, 0.95)
    oblique = (f.z + 28 * s - lean * (f.y - 4 * s)) / np.sqrt(1 + lean**2) + 3.5 * f.broad
    horizontal = f.z + 34 * s + 0.12 * (f.x + 70) + 3.0 * f.broad
    nowhere = (f.x > 0) | (oblique < 0)
    return oblique, np.where(nowhere, 200.0, horizontal)


def _tissue(patient: Patient, f: _Frame, lung: Floats) -> Floats:
    """HU of the parenchyma: heavier at the back, uneven, airless where it rests on the wall."""
    out = patient.lung + patient.gravity * f.y + 9.0 * f.fine + 8.0 * f.middle
    if patient.emphysema:
        patches = np.clip(f.middle + 0.6 * f.fine + 0.25 * f.broad - 0.4, 0.0, 1.2)
        out = out - patient.emphysema * patches * np.clip((f.z + 120) / 160, 0.15, 1.0)
    depth = np.maximum(-lung, 0.0)
    dependent = np.clip((f.y - 35.0) / 30.0, 0.0, 1.0) * np.clip(0.45 + 0.6 * f.middle, 0.0, 1.4)
    out = out + patient.burden * 330.0 * dependent * np.exp(-depth / 4.0)
    result: Floats = np.clip(out, -985.0, -300.0)
    return result


def gradient_width(field: Floats, grid: Grid, pixel: float, thickness: float) -> Floats:
    """Width (mm) over which a voxel's box blurs a surface: its extent along the surface's normal."""
    dz, dy, dx = np.gradient(field, *grid.spacing)
    length = np.maximum(np.sqrt(dx * dx + dy * dy + dz * dz), 1e-3)
    out: Floats = (np.maximum(np.abs(dx), np.abs(dy)) * pixel + np.abs(dz) * thickness) / length
    return np.maximum(out, 0.5 * pixel)
