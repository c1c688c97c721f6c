"""What a nodule is made of: soft tissue, ground glass, or both; and how much of it the solid part is.

By attenuation. The terms are those of thoracic imaging's glossaries: ground glass lets the vessels behind it be
seen, solid tissue does not; a part-solid nodule has both. A vessel that crosses ground glass is as dense as a solid
part, but long for its width. Attenuations are HU, lengths mm.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ai_adapters.lesion import REACH_MM, SOFT_TISSUE, Lesion, distance
from ai_adapters.measure import Region, sphere_diameter
from terminology.codings import Coding
from terminology.private_scheme import PART_SOLID, SOLID

Mask = npt.NDArray[np.bool_]

# PS3.16 CID 6102, and CID 6122 for what it contains.
DENSITY = Coding(value="112118", scheme="DCM", meaning="Density")
GROUND_GLASS = Coding(value="112120", scheme="DCM", meaning="Ground glass opacity")
CONTENT = Coding(value="112009", scheme="DCM", meaning="Type of Content")
CALCIUM = Coding(value="112145", scheme="DCM", meaning="Calcium")

#: A solid part is at least this thick from its border to its middle, and at least this much of a ball's depth.
_CORE_DEPTH_MM, _CORE_ROUNDNESS = 1.35, 0.55
#: Calcification: denser than vessels are with contrast medium, over at least this volume.
_CALCIUM_HU, _CALCIUM_MM3 = 280.0, 8.0
#: How fast confidence grows with distance from what divides: a logistic's width, in mm.
_WIDTH_MM = 0.15


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


def density(lesion: Lesion) -> Density:
    """The kind of a nodule by the attenuation of its inside."""
    subsolid = 1 - lesion.doubt / 2
    if not lesion.subsolid:
        cubic = float(np.prod(lesion.spacing))
        calcified = float((lesion.own & (lesion.quiet > _CALCIUM_HU)).sum()) * cubic >= _CALCIUM_MM3
        return Density(kind=SOLID, confidence=subsolid, calcified=calcified)
    core, excess = _core(lesion)
    if core is None or excess < 0:
        return Density(kind=GROUND_GLASS, confidence=subsolid * _sure(-excess))
    solid, volume = _solid_part(lesion, core)
    return Density(kind=PART_SOLID, confidence=subsolid * _sure(excess), solid=solid, solid_mm3=volume)


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
