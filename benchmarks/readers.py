"""A bundle's outlines against each LIDC-IDRI reader's: python -m benchmarks.readers BUNDLE STUDY XML [STUDY XML ...].

Lesions that at least three readers outlined. Dice with each reader and of the readers with each other; whether volume
and mean axial diameter lie within what the readers measured (their outlines by the same measure).
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pydicom

from ai_adapters.evaluation.lidc import Lesion, lesions
from ai_adapters.evaluation.segment import Segment, dice
from ai_adapters.measure import Block, Region, axes
from ai_adapters.registry import Bundle, read_bundle
from ai_adapters.run import Measured, read_nodules
from ai_adapters.volume import Volume, load

_READERS = 3


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One lesion by the bundle and by its readers."""

    study: str
    center_mm: tuple[float, float, float]
    readers: int
    #: Of the consensus, mm.
    consensus_mm: float
    #: None for all that follows where the bundle has no candidate there.
    confidence: float | None
    dice: tuple[float, ...]
    #: Of each two readers with each other.
    readers_dice: tuple[float, ...]
    diameter_mm: float | None
    readers_diameter_mm: tuple[float, ...]
    volume_mm3: float | None
    readers_volume_mm3: tuple[float, ...]

    @property
    def diameter_inside(self) -> bool:
        """Whether the diameter lies within the readers' range."""
        return _inside(self.diameter_mm, self.readers_diameter_mm)

    @property
    def volume_inside(self) -> bool:
        """Whether the volume does."""
        return _inside(self.volume_mm3, self.readers_volume_mm3)


def _inside(value: float | None, values: tuple[float, ...]) -> bool:
    return value is not None and min(values) <= value <= max(values)


def compare(bundle: Bundle, name: str, volume: Volume, xml: Path) -> list[Compared]:
    """Every lesion of enough readers, largest first."""
    nodules, _, _ = read_nodules(bundle, volume)
    return [_compared(name, lesion, nodules, volume) for lesion in lesions(xml, volume) if lesion.readers >= _READERS]


def _compared(name: str, lesion: Lesion, nodules: list[Measured], volume: Volume) -> Compared:
    away = [float(np.linalg.norm(np.subtract(each.center_mm, lesion.center_mm))) for each in nodules]
    near = [each for each, far in zip(nodules, away, strict=True) if far <= lesion.diameter_mm / 2]
    found = max(near, key=lambda each: each.confidence, default=None)
    readers = [Segment(origin=lesion.origin, voxels=mask) for mask in lesion.marked]
    voxel = float(np.prod(volume.spacing))
    segment = Segment(origin=found.region.origin, voxels=found.region.mask) if found else None
    x, y, z = (round(value, 1) for value in lesion.center_mm)
    return Compared(
        study=name,
        center_mm=(x, y, z),
        readers=lesion.readers,
        consensus_mm=round(lesion.diameter_mm, 1),
        confidence=round(found.confidence, 3) if found else None,
        dice=tuple(round(dice(segment, each), 3) for each in readers) if segment else (),
        readers_dice=tuple(round(dice(one, other), 3) for one, other in combinations(readers, 2)),
        diameter_mm=round((found.axes.long_mm + found.axes.short_mm) / 2, 1) if found else None,
        readers_diameter_mm=tuple(_diameter(each, volume) for each in readers),
        volume_mm3=round(found.volume_mm3, 0) if found else None,
        readers_volume_mm3=tuple(round(float(each.voxels.sum()) * voxel, 0) for each in readers),
    )


def _diameter(segment: Segment, volume: Volume) -> float:
    """The mean of the two axes, mm."""
    share: Block = np.pad(segment.voxels, 1).astype(np.float32)
    corner = tuple(int(value) - 1 for value in segment.origin)
    measured = axes(Region(origin=(corner[0], corner[1], corner[2]), share=share), volume)
    return round((measured.long_mm + measured.short_mm) / 2, 1)


def listing(each: Compared) -> str:
    """One lesion in three lines."""
    return (
        f"{each.study} {each.center_mm}, {each.readers} readers, {each.consensus_mm} mm: confidence {each.confidence}\n"
        f"  Dice with readers {each.dice}, of readers with each other {each.readers_dice}\n"
        f"  diameter {each.diameter_mm} of {each.readers_diameter_mm} mm: {each.diameter_inside}; "
        f"volume {each.volume_mm3} of {each.readers_volume_mm3} mm3: {each.volume_inside}"
    )


def main(argv: list[str] | None = None) -> int:
    """Read the command line, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("places", type=Path, nargs="+", help="STUDY XML pairs")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    bundle = read_bundle(options.bundle)
    done = []
    for study, xml in zip(options.places[::2], options.places[1::2], strict=True):
        volume = load([pydicom.dcmread(file) for file in sorted(study.rglob("*.dcm"))])
        done += compare(bundle, study.name, volume, xml)
    print("\n".join(listing(each) for each in done))
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in done], indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
