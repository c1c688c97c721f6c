"""Who lies on the table: size, shape, organs and their Hounsfield values, drawn from a seed."""

from dataclasses import dataclass

import numpy as np

from conformance.phantom.grid import Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Patient:
    """One random patient; lengths in mm in the body's own frame, whose origin is the carina."""

    sex: str
    age: int
    #: Scale of lengths along the body and of organs.
    scale: float
    #: Half-width and half-depth of the rib cage's inside at its widest.
    cavity: tuple[float, float]
    #: z of lung apex and of the lowest recess.
    top: float
    bottom: float
    #: Height of the right and left diaphragm dome.
    dome: tuple[float, float]
    #: Subcutaneous fat at the side, and chest wall.
    fat: float
    wall: float
    #: HU of flowing blood, of muscle and of lung.
    blood: float
    muscle: float
    lung: float
    #: HU by which lung is denser at the back than at the front, per mm.
    gravity: float
    #: HU lost in emphysematous patches.
    emphysema: float
    #: Radius (mm) of the smallest vessels drawn, and vessel ends per litre of lung and tree.
    twig: float
    density: float
    #: HU of spongy and cortical bone.
    bone: tuple[float, float]
    #: Share of 0..1 by which scars, bands and specks are abundant.
    burden: float

    def spine(self, z: Floats) -> Floats:
        """y of the vertebral bodies' centre at height z: the thoracic kyphosis."""
        out: Floats = (44.0 + 9.0 * (1.0 - ((z + 30.0) / 130.0) ** 2)) * self.scale
        return out


def draw(rng: np.random.Generator) -> Patient:
    """A random adult."""
    female = bool(rng.random() < 0.48)
    scale = float(rng.normal(0.93 if female else 1.03, 0.045))
    fat = float(np.clip(rng.gamma(4.0, 4.0), 5.0, 38.0))
    contrast = rng.random() < 0.3
    cavity = (float(rng.uniform(122, 140)) * scale, float(rng.uniform(82, 102)) * scale)
    right = float(rng.uniform(-128, -98)) * scale
    return Patient(
        sex="F" if female else "M",
        age=int(rng.integers(38, 85)),
        scale=scale,
        cavity=cavity,
        top=float(rng.uniform(98, 118)) * scale,
        bottom=right - float(rng.uniform(55, 75)) * scale,
        dome=(right, right - float(rng.uniform(6, 18)) * scale),
        fat=fat,
        wall=float(rng.uniform(24, 34)) * scale,
        blood=float(rng.uniform(150, 250) if contrast else rng.uniform(34, 48)),
        muscle=float(rng.uniform(48, 60)),
        lung=float(rng.uniform(-890, -835)),
        gravity=float(rng.uniform(0.15, 0.5)),
        emphysema=float(rng.uniform(25, 75) if rng.random() < 0.3 else 0.0),
        twig=float(rng.uniform(0.44, 0.55)),
        density=float(rng.uniform(850, 1150)),
        bone=(float(rng.uniform(130, 240)), float(rng.uniform(480, 800))),
        burden=float(rng.uniform(0.3, 1.0)),
    )


def rotation(angles: Floats) -> Floats:
    """The matrix for small turns (radian) about x, y and z."""
    cx, cy, cz = np.cos(angles)
    sx, sy, sz = np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    out: Floats = about_z @ about_y @ about_x
    return out


@dataclass(frozen=True, kw_only=True, slots=True)
class Pose:
    """How the patient lies in the scanner: scanner = turn @ body + shift."""

    turn: Floats
    shift: Floats

    def to_scanner(self, points: Floats) -> Floats:
        """Body coordinates to scanner coordinates."""
        out: Floats = points @ self.turn.T + self.shift
        return out

    def to_body(self, points: Floats) -> Floats:
        """Scanner coordinates to body coordinates."""
        out: Floats = (points - self.shift) @ self.turn
        return out


def lie_down(rng: np.random.Generator) -> Pose:
    """A random position on the table: a few degrees and centimetres off, the table anywhere along its travel."""
    angles = rng.normal(0.0, [0.03, 0.025, 0.045])
    shift = np.array([rng.normal(0, 8), rng.normal(0, 10), rng.uniform(-1400.0, 300.0)])
    return Pose(turn=rotation(angles), shift=np.round(shift, 1))
