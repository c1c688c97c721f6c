"""What a nodule is made of: soft tissue, ground glass, or both; and how much of it the solid part is.

By attenuation. The terms are those of thoracic imaging's glossaries: ground glass lets the vessels behind it be
seen, solid tissue does not; a part-solid nodule has both. A vessel that crosses ground glass is as dense as a solid
part, but long for its width; where a network was asked whether ground glass holds a solid part, its word counts.
Attenuations are HU, lengths mm.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ai_adapters.lesion import REACH_MM, SOFT_TISSUE, Lesion, distance
from ai_adapters.measure import Region, sphere_diameter
from terminology.codings import Coding
from terminology.private_scheme import (
    ATTENUATION_AND_NETWORK,
    ATTENUATION_RULE,
    PART_SOLID,
    SOLID,
)

Mask = npt.NDArray[np.bool_]

# PS3.16 CID 6102, and CID 6122 for what it contains.
DENSITY = Coding(value="112118", scheme="DCM", meaning="Density")
GROUND_GLASS = Coding(value="112120", scheme="DCM", meaning="Ground glass opacity")
CONTENT = Coding(value="112009", scheme="DCM", meaning="Type of Content")
CALCIUM = Coding(value="112145", scheme="DCM", meaning="Calcium")
CALCIFICATION = Coding(value="111009", scheme="DCM", meaning="Calcification Type")

#: A solid part is at least this thick from its border to its middle, and at least this much of a ball's depth.
_CORE_DEPTH_MM, _CORE_ROUNDNESS = 1.35, 0.55
#: Calcification: denser than vessels are with contrast medium, over at least this volume.
_CALCIUM_HU, _CALCIUM_MM3 = 280.0, 8.0
#: A calcification is central where nearly all of it is one piece, whose middle lies this near to the nodule's (in radii
#: of the sphere as large), and which is more of the nodule than a speck.
_ONE_PIECE, _IN_THE_MIDDLE, _NO_SPECK = 0.9, 0.25, 0.03
#: How fast confidence grows with distance from what divides: a logistic's width, in mm.
_WIDTH_MM = 0.15
#: How many chances a network gives, and which is neither yes nor no.
_CHANCES, _EVEN = 3, 0.5


@dataclass(frozen=True, kw_only=True)
class Density:
    """A nodule's kind."""

    kind: Coding
    #: 0..1.
    confidence: float
    #: The solid part of a part-solid nodule.
    solid: Region | None = None
    solid_mm3: float | None = None
    calcified: bool = False
    #: Whether it is calcified in the middle or all through, which the tables count as benign.
    benign_calcification: bool = False
    method: Coding = ATTENUATION_RULE


def density(lesion: Lesion, chances: Sequence[float] = ()) -> Density:
    """The kind of a nodule by the attenuation of its inside.

    ``chances`` are those that a network gives solid, part-solid and ground glass.
    """
    subsolid = 1 - lesion.doubt / 2
    if not lesion.subsolid:
        calcium = lesion.own & (lesion.quiet > _CALCIUM_HU)
        calcified = float(calcium.sum() * np.prod(lesion.spacing)) >= _CALCIUM_MM3
        central = calcified and _central(calcium, lesion)
        return Density(kind=SOLID, confidence=subsolid, calcified=calcified, benign_calcification=central)
    core, excess = _core(lesion)
    told = len(chances) == _CHANCES and max(chances[1:]) > 0
    has_core = chances[1] / (chances[1] + chances[2]) if told else _sure(excess)
    method = ATTENUATION_AND_NETWORK if told else ATTENUATION_RULE
    if core is None or has_core < _EVEN:
        sure = subsolid * max(1 - has_core, _EVEN)
        return Density(kind=GROUND_GLASS, confidence=sure, method=method)
    solid, volume = _solid_part(lesion, core)
    return Density(kind=PART_SOLID, confidence=subsolid * has_core, solid=solid, solid_mm3=volume, method=method)


def _central(calcium: Mask, lesion: Lesion) -> bool:
    """Whether what is calcified is one piece in the nodule's middle (or nearly all of the nodule)."""
    parts, _ = ndimage.label(calcium)
    piece = parts == np.bincount(parts[parts > 0]).argmax()
    off = np.subtract(ndimage.center_of_mass(piece), ndimage.center_of_mass(lesion.own)) * lesion.spacing
    near = float(np.linalg.norm(off)) <= _IN_THE_MIDDLE * sphere_diameter(lesion.volume_mm3) / 2
    whole = piece.sum() >= _ONE_PIECE * calcium.sum() and piece.sum() >= _NO_SPECK * lesion.own.sum()
    return bool(near and whole)


def _sure(beyond_mm: float) -> float:
    return float(1 / (1 + np.exp(-beyond_mm / _WIDTH_MM)))


def _core(lesion: Lesion) -> tuple[Mask | None, float]:
    """The thickest dense part inside ground glass, and by how many mm it is more (or less) than a vessel may be."""
    dense = lesion.own & (lesion.quiet > (lesion.level + SOFT_TISSUE) / 2)
    if not dense.any():
        return None, -_CORE_DEPTH_MM
    depth = distance(dense, lesion.spacing)
    parts, _ = ndimage.label(dense)
    core: Mask = parts == parts[np.unravel_index(int(depth.argmax()), depth.shape)]
    thick = float(depth.max())
    as_ball = sphere_diameter(float(core.sum()) * float(np.prod(lesion.spacing))) / 2
    return core, min(thick - _CORE_DEPTH_MM, thick - _CORE_ROUNDNESS * as_ball)


def _solid_part(lesion: Lesion, core: Mask) -> tuple[Region, float]:
    """The solid part's share of each voxel by attenuation between ground glass and soft tissue; mm3."""
    deep = lesion.quiet[distance(core, lesion.spacing) > 1.5]
    soft = max(float(np.median(deep)), 0.0) if len(deep) >= 15 else SOFT_TISSUE
    share = np.clip((lesion.quiet - lesion.level) / (soft - lesion.level), 0.0, 1.0)
    near = lesion.own & (distance(~core, lesion.spacing) <= REACH_MM)
    held = np.where(near, share, 0.0).astype(np.float32)
    region = Region(origin=lesion.region.origin, share=held)
    return region, float(held.sum()) * float(np.prod(lesion.spacing))
