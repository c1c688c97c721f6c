"""Trains the network that points at small nodules: python -m training.small OUT FOLDER... [--minutes M].

``FOLDER`` are those that ``training.places`` wrote; it learns from the coarser of their cubes, which are on the
detector's grid. Places that it mistakes for nodules are shown more often.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from training.cubes import SPACINGS, Kind
from training.learning import Learning, start
from training.small_network import Small

#: Edge of what is shown, and by how much it is moved at most, voxels.
_SIZE, _JITTER = 32, 3
_NODULES = (Kind.CANDIDATE, Kind.NODULE)
#: Larger ones are the detector's, mm.
_LARGEST_MM = 14.0
#: Around a place that is nothing, this much is nothing; around a nodule nothing is known farther away than this, mm.
_NOTHING_MM, _KNOWN_MM = 9.0, 13.0
_AXIS = torch.arange(_SIZE).float()


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Cubes with where their nodules lie."""

    cubes: npt.NDArray[np.uint8]
    kind: npt.NDArray[np.int8]
    #: mm from the cube's middle.
    offset: npt.NDArray[np.float32]
    diameter: npt.NDArray[np.float32]


def read(folders: list[Path]) -> Shown:
    """The middles of the coarser cubes of all scans."""
    parts: dict[str, list[npt.NDArray[np.generic]]] = {name: [] for name in ("cubes", "kind", "offset", "diameter")}
    for folder in folders:
        kind, diameter = np.load(folder / "kind.npy"), np.load(folder / "diameter.npy")
        wanted = (kind == Kind.NOTHING) | (np.isin(kind, (*_NODULES, Kind.DRAWN)) & (diameter < _LARGEST_MM))
        cubes = np.load(folder / "cubes.npy", mmap_mode="r")
        first = (cubes.shape[-1] - _SIZE) // 2 - _JITTER
        box = (slice(first, first + _SIZE + 2 * _JITTER),) * 3
        parts["cubes"].append(np.ascontiguousarray(cubes[(wanted, 1, *box)]))
        parts["kind"].append(kind[wanted])
        parts["offset"].append(np.load(folder / "offset.npy")[wanted])
        parts["diameter"].append(diameter[wanted])
    return Shown(**{name: np.concatenate(found) for name, found in parts.items()})


@dataclass(kw_only=True)
class Batch:
    """What is shown at once."""

    images: torch.Tensor
    #: Distance (mm) of each voxel from the nodule's middle, or from the place.
    away: torch.Tensor
    nodule: torch.Tensor
    diameter: torch.Tensor


def batch(shown: Shown, ids: npt.NDArray[np.int_], rng: np.random.Generator) -> Batch:
    """Cubes moved and mirrored, as by other scanners a little lighter and noisier."""
    cubes, middles = zip(*(_moved(shown, int(number), rng) for number in ids), strict=True)
    images = torch.from_numpy(np.stack(cubes)).float().mul_(2 / 255).sub_(1)[:, None]
    one_each = (len(ids), 1, 1, 1, 1)
    images += torch.randn(one_each) * 0.02 + torch.randn_like(images) * (torch.rand(one_each) ** 2 * 0.05)
    z, y, x = (torch.from_numpy(np.array(middles, dtype=np.float32)[:, axis, None, None, None]) for axis in range(3))
    square = (_AXIS[:, None, None] - z) ** 2 + (_AXIS[None, :, None] - y) ** 2 + (_AXIS[None, None, :] - x) ** 2
    return Batch(
        images=images.contiguous(memory_format=torch.channels_last_3d),
        away=square.sqrt() * SPACINGS[1],
        nodule=torch.from_numpy(shown.kind[ids] != Kind.NOTHING)[:, None, None, None],
        diameter=torch.from_numpy(shown.diameter[ids])[:, None, None, None],
    )


def _moved(
    shown: Shown, number: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    move = rng.integers(0, 2 * _JITTER + 1, 3)
    cube = shown.cubes[number][tuple(slice(a, a + _SIZE) for a in move)]
    middle = (shown.cubes.shape[-1] - 1) / 2 - move + shown.offset[number] / SPACINGS[1]
    mirrored = rng.random(3) < 0.5
    cube = np.flip(cube, [axis for axis in range(3) if mirrored[axis]])
    middle = np.where(mirrored, _SIZE - 1 - middle, middle)
    if rng.random() < 0.5:
        cube, middle = cube.transpose(0, 2, 1), middle[[0, 2, 1]]
    return np.ascontiguousarray(cube), middle


def loss_of(logits: torch.Tensor, wanted: Batch) -> torch.Tensor:
    """Focal loss: a hill about each nodule's middle, nothing elsewhere; between them nothing is asked."""
    chance = torch.sigmoid(logits)
    width = torch.clamp(wanted.diameter / 5, 1.3, 2.2)
    hill = torch.where(wanted.nodule, torch.exp(-(wanted.away**2) / (2 * width**2)), torch.zeros(()))
    hill = hill * (hill > 0.4)
    near_nodule = (wanted.away > wanted.diameter / 2 + 2) & (wanted.away < _KNOWN_MM)
    nothing = torch.where(wanted.nodule, near_nodule, wanted.away < _NOTHING_MM)
    missed = (-functional.logsigmoid(logits) * (1 - chance) ** 2 * hill).sum((1, 2, 3))
    missed = (missed / hill.sum((1, 2, 3)).clamp(min=1e-3)).sum() / wanted.nodule.sum()
    return missed + (-functional.logsigmoid(-logits) * chance**2 * nothing).sum() / len(logits) / 25


class Pool:
    """What is shown how often."""

    def __init__(self, shown: Shown) -> None:
        """Sort it into nodules, drawn ones and nothing."""
        self.nodules, self.drawn, self.nothing = (
            np.flatnonzero(np.isin(shown.kind, kinds)) for kinds in (_NODULES, (Kind.DRAWN,), (Kind.NOTHING,))
        )
        self.often = [_often(shown.diameter[ids]) for ids in (self.nodules, self.drawn)]
        self.mistaken = np.ones(len(self.nothing))

    def draw(self, count: int, rng: np.random.Generator) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]]:
        """Numbers of what is shown, a third nodules and a sixth drawn ones; the last are those of ``nothing`` given."""
        nodules = rng.choice(self.nodules, count // 3, p=self.often[0])
        drawn = rng.choice(self.drawn, count // 6, p=self.often[1])
        rest = count - len(nodules) - len(drawn)
        others = rng.choice(len(self.nothing), rest, p=self.mistaken / self.mistaken.sum())
        return np.concatenate([nodules, drawn, self.nothing[others]]), others

    def learn(self, others: npt.NDArray[np.int_], chances: npt.NDArray[np.float32]) -> None:
        """Show again what was mistaken for a nodule."""
        self.mistaken[others] = 0.5 * self.mistaken[others] + 0.5 * (0.05 + 4 * chances[-len(others) :] ** 2)


def train(out: Path, shown: Shown, minutes: float, at_once: int = 24) -> None:
    """Train for that long; the averaged weights are kept."""
    rng, pool = np.random.default_rng(0), Pool(shown)
    net = start(Small(), None)
    learning = Learning(net, out, minutes=minutes, rate=3e-3, decay=1e-3, keep=0.99)
    for _ in learning:
        ids, others = pool.draw(at_once, rng)
        seen = batch(shown, ids, rng)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = net(seen.images)
        logits = logits.float()[:, 0]
        learning.step(loss_of(logits, seen))
        pool.learn(others, (torch.sigmoid(logits.detach()) * (seen.away < 5)).amax((1, 2, 3)).numpy())


def _often(diameter: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """How often each is shown: the smaller, the more."""
    weights = np.where(diameter < 6, 3.0, np.where(diameter < 8, 1.5, 0.5))
    out: npt.NDArray[np.float64] = weights / weights.sum()
    return out


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--minutes", type=float, default=30)
    options = parser.parse_args()
    torch.manual_seed(0)
    train(options.out, read(options.folders), options.minutes)


if __name__ == "__main__":
    main()
