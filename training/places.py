"""What the second network learns from: cubes about candidates, about nodules, and about nodules drawn into lung.

    python -m training.places BUNDLE OUT phantom NPZ...
    python -m training.places BUNDLE OUT lidc STUDY XML [--passes 3] [--drawn 150]

The bundle's detector says where candidates are. One folder a scan: ``cubes.npy`` (uint8, the window's ends are 0 and
255; wider than the network's by a jitter), ``kind.npy``, ``offset.npy`` (mm from the cube's middle to the nodule's),
``diameter.npy`` (mm), ``density.npy`` and ``margin.npy`` (numbers in ``cubes.py``, -1: nobody knows).
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from scipy import ndimage

from ai_adapters.evaluation.lidc import lesions
from ai_adapters.networks import Networks, networks
from ai_adapters.registry import read_bundle
from ai_adapters.run import nodule_plan
from ai_adapters.tasks.crops import Cube, cubes, sampled
from ai_adapters.tasks.nodule_detection import Plan, many, survey
from ai_adapters.volume import Volume, load
from benchmarks.nodules import read_phantom
from training.cubes import DENSITIES, JITTER, LOOK, MARGINS, SIZE, SPACINGS, Kind
from training.patches import WINDOW
from training.synthesis import diameter, draw_nodule

Point = npt.NDArray[np.float64]
Cubes = npt.NDArray[np.uint8]

CUBE = Cube(size=SIZE + 2 * JITTER, spacings_mm=SPACINGS)
#: A candidate this near to a nodule's middle is on it, however small it is; this far from its border it is not, mm.
_ON_MM, _OFF_MM = 2.5, 3.0
#: Edge of the cube that a nodule is drawn in (voxels of the finest spacing), and the largest that fits, mm.
_STAGE, _LARGEST_MM = 112, 22.0


@dataclass(frozen=True, kw_only=True)
class Known:
    """A nodule of the scan."""

    #: mm from the first voxel along the volume's axes.
    place: Point
    diameter_mm: float
    density: int = -1
    margin: int = -1
    #: Whether it is one for sure; of others nothing is learnt.
    certain: bool = True


@dataclass(frozen=True, kw_only=True)
class Example:
    """One cube."""

    cubes: Cubes
    kind: Kind
    offset: Point
    diameter_mm: float = 0.0
    density: int = -1
    margin: int = -1


def examples(volume: Volume, known: list[Known], opened: Networks, plan: Plan, drawn: int, seed: int) -> list[Example]:
    """All cubes of one scan."""
    rng = np.random.default_rng(seed)
    grid, lungs, heat = survey(volume, opened.read, plan)
    places = [place * plan.spacing_mm for place in many(heat, grid, lungs, plan, LOOK, opened.pointer)]
    found = [*_candidates(volume, places, known), *_themselves(volume, known, rng)]
    taken = [(one.place, one.diameter_mm) for one in known]
    found += _drawn(volume, grid, lungs, taken, drawn, rng)
    return found


def _cut(volume: Volume, place: Point) -> Cubes:
    low, high = WINDOW
    values = np.clip(cubes(volume, place, CUBE), low, high)
    return np.rint((values - low) * (255 / (high - low))).astype(np.uint8)


def _candidates(volume: Volume, places: list[Point], known: list[Known]) -> Iterator[Example]:
    """What the detector and the filter point at: nodules, and nothing."""
    for place in places:
        near = min(known, key=lambda one: np.linalg.norm(one.place - place) - one.diameter_mm / 2, default=None)
        away = np.inf if near is None else float(np.linalg.norm(near.place - place))
        if near is not None and near.certain and away <= max(near.diameter_mm / 2, _ON_MM):
            yield _of(near, _cut(volume, place), Kind.CANDIDATE, near.place - place)
        elif near is None or away >= near.diameter_mm / 2 + _OFF_MM:
            yield Example(cubes=_cut(volume, place), kind=Kind.NOTHING, offset=np.zeros(3))


def _of(known: Known, seen: Cubes, kind: Kind, offset: Point) -> Example:
    return Example(
        cubes=seen,
        kind=kind,
        offset=offset,
        diameter_mm=known.diameter_mm,
        density=known.density,
        margin=known.margin,
    )


def _themselves(volume: Volume, known: list[Known], rng: np.random.Generator) -> Iterator[Example]:
    """The nodules from near their middles, found or not."""
    for one in (one for one in known if one.certain):
        for _ in range(2):
            away = rng.normal(0, min(0.9, one.diameter_mm / 6), 3)
            yield _of(one, _cut(volume, one.place + away), Kind.NODULE, -away)


def _drawn(
    volume: Volume,
    grid: Volume,
    lungs: npt.NDArray[np.bool_],
    taken: list[tuple[Point, float]],
    count: int,
    rng: np.random.Generator,
) -> list[Example]:
    """Nodules drawn into lung at the finest spacing: on its border, on vessels, free."""
    depth = ndimage.distance_transform_edt(lungs) * grid.spacing[0]
    masks = replace(grid, voxels=(lungs * np.int16(1000)))
    found: list[Example] = []
    for _ in range(6 * count):
        if sum(one.kind == Kind.DRAWN for one in found) == count:
            break
        size = min(diameter(rng), _LARGEST_MM)
        place = _somewhere(depth, grid, size / 2, rng)
        if place is None or any(np.linalg.norm(place - p) < (size + d) / 2 + _OFF_MM for p, d in taken):
            continue
        found += _one_drawn(sampled(volume, place, _STAGE, SPACINGS[0]), masks, place, size, rng)
    return found


def _somewhere(depth: npt.NDArray[np.float64], grid: Volume, radius: float, rng: np.random.Generator) -> Point | None:
    """A place for a nodule of that radius, mm."""
    draw = rng.random()
    border = (depth > 0.3 * radius) & (depth < 1.3 * radius + 1)
    wanted = border if draw < 0.35 else depth > 0.8 * radius
    if draw > 0.7:
        wanted &= grid.voxels > -600
    pool = np.flatnonzero(wanted)
    if not pool.size:
        return None
    place = np.array(np.unravel_index(int(rng.choice(pool)), depth.shape), dtype=float) * grid.spacing[0]
    moved: Point = place + rng.uniform(-0.7, 0.7, 3)
    return moved


def _one_drawn(
    stage: npt.NDArray[np.float32], masks: Volume, place: Point, size: float, rng: np.random.Generator
) -> list[Example]:
    """The cube with a nodule drawn in its middle, what fell outside the lung taken back; often the one before, too."""
    step = SPACINGS[0]
    lung = sampled(masks, place, _STAGE, step) > 500
    before = stage.copy()
    made = draw_nodule(stage, np.full(3, (_STAGE - 1) / 2), size, step, rng)
    if made is None:
        return []
    np.copyto(stage, before, where=~lung & (before > -300))
    box = tuple(slice(a, a + b) for a, b in zip(made.origin, made.occupancy.shape, strict=True))
    filled = np.where(~lung[box] & (before[box] > -300), 0, made.occupancy)
    volume = float(filled.sum()) * step**3
    if volume < 8:
        return []
    middle = (np.array(ndimage.center_of_mass(filled)) + made.origin) * step
    away = rng.normal(0, 1.0, 3)
    affine = np.diag([step, step, step, 1.0])
    seen, empty = (
        _cut(Volume(voxels=np.rint(one).astype(np.int16), affine=affine), middle + away) for one in (stage, before)
    )
    size = float((6 * volume / np.pi) ** (1 / 3))
    found = [Example(cubes=seen, kind=Kind.DRAWN, offset=-away, diameter_mm=size)]
    if rng.random() < 0.3:
        found.append(Example(cubes=empty, kind=Kind.BEFORE, offset=np.zeros(3)))
    return found


def write(folder: Path, found: list[Example]) -> None:
    """One array for each property."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "kind.npy", np.array([one.kind for one in found], dtype=np.int8))
    np.save(folder / "offset.npy", np.array([one.offset for one in found], dtype=np.float32))
    np.save(folder / "diameter.npy", np.array([one.diameter_mm for one in found], dtype=np.float32))
    np.save(folder / "density.npy", np.array([one.density for one in found], dtype=np.int8))
    np.save(folder / "margin.npy", np.array([one.margin for one in found], dtype=np.int8))
    # Last: a folder that has it is whole.
    np.save(folder / "cubes.npy", np.stack([one.cubes for one in found]))


def of_phantom(file: Path) -> tuple[Volume, list[Known], int]:
    """A phantom's volume, nodules and seed."""
    volume, truth = read_phantom(file)
    known = [
        Known(
            place=np.array(volume.to_index(one["center_mm"])) * volume.spacing,
            diameter_mm=one["diameter_mm"],
            density=DENSITIES.index(one["density"]),
            margin=MARGINS.index(one["margin"]),
        )
        for one in truth["nodules"]
    ]
    return volume, known, int(truth["seed"])


def of_lidc(study: Path, xml: Path) -> tuple[Volume, list[Known]]:
    """A CT and its lesions; those of four readers are certain."""
    volume = load([pydicom.dcmread(file) for file in sorted(study.rglob("*.dcm"))])
    known = [
        Known(
            place=np.array(one.index) * volume.spacing,
            diameter_mm=max(one.diameter_mm, 3.0),
            density=DENSITIES.index(one.density) if one.density else -1,
            certain=one.readers == 4,
        )
        for one in lesions(xml, volume)
    ]
    return volume, known


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("what", choices=("phantom", "lidc"))
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--passes", type=int, default=3, help="lidc: so often, with more noise each time")
    parser.add_argument("--drawn", type=int, help="nodules drawn into each; 16 unless told, 150 for lidc")
    options = parser.parse_args()
    bundle = read_bundle(options.bundle)
    opened, plan = networks(bundle, 1), nodule_plan(bundle.manifest)
    if options.what == "phantom":
        for file in options.files:
            volume, known, seed = of_phantom(file)
            write(options.out / f"ph-{seed}", examples(volume, known, opened, plan, options.drawn or 16, seed))
        return
    volume, known = of_lidc(*options.files)
    for number in range(options.passes):
        rng = np.random.default_rng(number)
        noise = rng.normal(0, rng.uniform(5, 25) if number else 0, volume.voxels.shape)
        seen = replace(volume, voxels=(volume.voxels + noise).astype(np.int16))
        found = examples(seen, known, opened, plan, options.drawn or 150, number)
        write(options.out / f"{options.files[0].name.lower()}-{number}", found)


if __name__ == "__main__":
    main()
