"""What a nodule is: what was asked for, its shape as an implicit surface, and its truth measured on that surface."""

import re
from dataclasses import dataclass

import numpy as np

from conformance.phantom.grid import Floats

DENSITIES = ("solid", "part-solid", "ground-glass")
ATTACHMENTS = ("none", "vessel", "pleura")
MARGINS = ("circumscribed", "lobulated", "spiculated", "irregular", "ill-defined")
_SPEC = re.compile(r"^(?P<words>[^@~]*)(?:@(?P<at>[-+0-9.,]+))?(?:~(?P<vdt>[-+0-9.]+))?$")


class SpecError(ValueError):
    """A wish that can't be understood or met; says what is allowed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """What the caller wants of one nodule; None leaves it to the seed."""

    #: Volume-equivalent diameter at the (current) study, mm.
    diameter: float
    density: str | None = None
    attachment: str | None = None
    margin: str | None = None
    #: Centre in body coordinates (mm from the carina: left, back, head).
    at: tuple[float, float, float] | None = None
    #: Volume doubling time in days; negative shrinks, None: drawn, 0: stable.
    doubling_days: float | None = None


def parse(text: str) -> Spec:
    """``8``, ``12:part-solid:pleura``, ``9:solid:spiculated@-60,20,30~250`` (place from the carina, doubling days)."""
    match = _SPEC.match(text.strip())
    words = [w for w in match["words"].split(":") if w] if match else []
    try:
        diameter = float(words[0])
        at = tuple(float(v) for v in match["at"].split(",")) if match and match["at"] else None
        vdt = float(match["vdt"]) if match and match["vdt"] else None
    except (IndexError, ValueError) as error:
        raise SpecError(
            f"nodule {text!r}: write DIAMETER[:word...][@X,Y,Z][~DAYS], for example 8:solid:pleura~250"
        ) from error
    if not 2.0 <= diameter <= 30.0 or (at is not None and len(at) != 3):
        raise SpecError(f"nodule {text!r}: the diameter must be 2 to 30 mm and a place must have three coordinates")
    found: dict[str, str] = {}
    for word in words[1:]:
        for name, allowed in (("density", DENSITIES), ("attachment", ATTACHMENTS), ("margin", MARGINS)):
            if word in allowed:
                found[name] = word
                break
        else:
            raise SpecError(f"nodule {text!r}: {word!r} is none of {', '.join((*DENSITIES, *ATTACHMENTS, *MARGINS))}")
    place = (at[0], at[1], at[2]) if at else None
    return Spec(diameter=diameter, at=place, doubling_days=vdt, **found)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A star-shaped body: a stretched sphere with bumps; ``level`` is its signed distance to first order."""

    #: Body coordinates, mm.
    center: Floats
    radius: float
    #: (3, 3): patient offset -> unit-sphere offset, determinant 1.
    stretch: Floats
    #: (k, 3) unit directions, (k,) relative heights and sharpness.
    directions: Floats
    heights: Floats
    sharpness: Floats

    def level(self, points: Floats) -> Floats:
        """Signed distance (mm, negative inside) of body points (n, 3)."""
        offset = np.einsum("...i,ij->...j", (points - self.center).astype(np.float32), self.stretch.astype(np.float32))
        rho = np.sqrt(offset[..., 0] ** 2 + offset[..., 1] ** 2 + offset[..., 2] ** 2)
        out: Floats = rho - self.radius * self._reach(offset, rho)
        return out

    def _reach(self, offset: Floats, rho: Floats) -> Floats:
        unit = offset / np.maximum(rho, 1e-3)[..., None]
        x, y, z = (np.ascontiguousarray(unit[..., k]) for k in range(3))
        total = np.ones_like(rho)
        # Bump by bump: less memory, and no threads of BLAS for so little work.
        for (dx, dy, dz), height, sharpness in zip(
            self.directions.tolist(), self.heights.tolist(), self.sharpness.tolist(), strict=True
        ):
            total += height * np.exp((x * dx + y * dy + z * dz - 1.0) * sharpness)
        out: Floats = np.maximum(total, 0.3)
        return out

    def extent(self) -> float:
        """No point of it is farther from the centre than this, mm."""
        most = 1.0 + float(np.maximum(self.heights, 0.0).sum())
        return self.radius * min(most, 2.3) * float(np.linalg.norm(np.linalg.inv(self.stretch), 2)) + 1.0

    def scaled(self, factor: float) -> "Shape":
        """The same form, ``factor`` times as large, about the same centre."""
        return self.at(self.center, self.radius * factor)

    def at(self, center: Floats, radius: float) -> "Shape":
        """The same form elsewhere and of another size."""
        return Shape(
            center=center, radius=radius, stretch=self.stretch,
            directions=self.directions, heights=self.heights, sharpness=self.sharpness,
        )  # fmt: skip


def form(margin: str, rng: np.random.Generator) -> Shape:
    """A random unit form with this margin, at the origin."""
    bumps = {"circumscribed": 4, "lobulated": 7, "spiculated": 6, "irregular": 12, "ill-defined": 7}[margin]
    height = {"circumscribed": 0.06, "lobulated": 0.3, "spiculated": 0.12, "irregular": 0.2, "ill-defined": 0.12}[
        margin
    ]
    directions = rng.standard_normal((bumps, 3))
    heights = rng.uniform(-height, 1.6 * height, bumps)
    sharpness = rng.uniform(2.5, 5.0, bumps) if margin != "irregular" else rng.uniform(3.0, 14.0, bumps)
    if margin == "spiculated":
        spikes = int(rng.integers(10, 22))
        directions = np.concatenate([directions, rng.standard_normal((spikes, 3))])
        heights = np.concatenate([heights, rng.uniform(0.3, 0.9, spikes)])
        sharpness = np.concatenate([sharpness, rng.uniform(50.0, 140.0, spikes)])
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    axes = np.exp(rng.normal(0.0, 0.1, 3))
    axes = axes / np.prod(axes) ** (1 / 3)
    return Shape(
        center=np.zeros(3), radius=1.0, stretch=turn @ np.diag(axes) @ turn.T,
        directions=directions, heights=heights, sharpness=sharpness,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Nodule:
    """One nodule as it is in one study, in body coordinates, clipped to the lung when drawn."""

    number: int
    shape: Shape
    density: str
    attachment: str
    margin: str
    #: HU of the whole (part-solid: of its ground-glass part), and of a part-solid nodule's core.
    hu: float
    core: Shape | None
    core_hu: float
    #: HU of a calcification in the middle, or None.
    calcium: float | None
    doubling_days: float
    #: Width (mm) over which the border fades.
    fade: float
    requested: float
