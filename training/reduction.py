"""Trains the second network: python -m training.reduction OUT FOLDER... [--start CHECKPOINT] [--minutes M].

``FOLDER`` are those that ``training.places`` wrote. Of the places that are no nodules, those that are still mistaken
for one are shown more often. What it prints (loss, speed) goes to the log that the caller keeps.
"""

import argparse
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from training.cubes import JITTER, MARGINS, OFFSET_MM, SIZE, SPACINGS, Kind
from training.learning import Learning, start
from training.reduction_network import Reduction

_NODULES = (Kind.CANDIDATE, Kind.NODULE)
_NOTHING = (Kind.NOTHING, Kind.BEFORE)
#: Shares of a batch: nodules of scans, and drawn ones; the rest is nothing.
_SHARE_NODULES, _SHARE_DRAWN = 5, 8


@dataclass(kw_only=True)
class Scan:
    """The cubes of one scan, as ``training.places`` wrote them."""

    cubes: npt.NDArray[np.uint8]
    kind: npt.NDArray[np.int8]
    offset: npt.NDArray[np.float32]
    diameter: npt.NDArray[np.float32]
    density: npt.NDArray[np.int8]
    margin: npt.NDArray[np.int8]
    #: How often each is shown: more where the network errs.
    weight: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, dtype=np.float32))


def read_scan(folder: Path) -> Scan:
    """One folder."""
    names = ("cubes", "kind", "offset", "diameter", "density", "margin")
    scan = Scan(**{name: np.load(folder / f"{name}.npy") for name in names})
    scan.weight = np.ones(len(scan.kind), dtype=np.float32)
    return scan


@dataclass(kw_only=True)
class Batch:
    """What is shown at once, and what should be said of it."""

    #: (scan, number in it) of each.
    ids: npt.NDArray[np.int_]
    cubes: npt.NDArray[np.uint8]
    nodule: npt.NDArray[np.float32]
    offset: npt.NDArray[np.float32]
    density: npt.NDArray[np.int_]
    margin: npt.NDArray[np.int_]


class Pool:
    """All scans, and which of their cubes are what."""

    def __init__(self, folders: list[Path]) -> None:
        """Read them into memory."""
        self.scans = [read_scan(folder) for folder in folders]
        self.nodules, self.drawn, self.nothing = (self._ids(kinds) for kinds in (_NODULES, (Kind.DRAWN,), _NOTHING))
        # Small ones more often: they are the harder ones.
        small = np.array([1.6 if self.scans[i].diameter[j] < 7 else 1.0 for i, j in self.nodules])
        self.chance = small / small.sum()

    def _ids(self, kinds: tuple[Kind, ...]) -> npt.NDArray[np.int_]:
        rows = [(i, j) for i, scan in enumerate(self.scans) for j in np.flatnonzero(np.isin(scan.kind, kinds))]
        return np.array(rows, dtype=int).reshape(-1, 2)

    def weights(self) -> npt.NDArray[np.float64]:
        """How often each place that is nothing is shown."""
        weights = np.array([self.scans[i].weight[j] for i, j in self.nothing], dtype=float)
        out: npt.NDArray[np.float64] = weights / weights.sum()
        return out

    def batch(self, count: int, weights: npt.NDArray[np.float64], rng: np.random.Generator) -> Batch:
        """Cubes drawn at random, each moved, mirrored and turned."""
        nodules = self.nodules[rng.choice(len(self.nodules), count // _SHARE_NODULES, p=self.chance)]
        drawn = self.drawn[rng.integers(0, len(self.drawn), count // _SHARE_DRAWN)]
        rest = self.nothing[rng.choice(len(self.nothing), count - len(nodules) - len(drawn), p=weights)]
        ids = np.concatenate([nodules, drawn, rest])
        seen = [_moved(self.scans[i], j, rng) for i, j in ids]
        return Batch(
            ids=ids,
            cubes=np.stack([cubes for cubes, _ in seen]),
            nodule=np.array([self.scans[i].kind[j] not in _NOTHING for i, j in ids], dtype=np.float32),
            offset=np.array([offset for _, offset in seen], dtype=np.float32),
            density=np.array([self.scans[i].density[j] for i, j in ids], dtype=int),
            margin=np.array([self.scans[i].margin[j] for i, j in ids], dtype=int),
        )

    def learn(self, batch: Batch, losses: npt.NDArray[np.float32]) -> None:
        """Show again what was mistaken."""
        for (i, j), loss, nodule in zip(batch.ids, losses, batch.nodule, strict=True):
            if not nodule:
                weight = self.scans[i].weight
                weight[j] = 0.5 * weight[j] + 0.5 * min(3.0, 0.05 + 4 * loss)


def _moved(scan: Scan, number: int, rng: np.random.Generator) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """A cube about another middle, mirrored, its axes exchanged; and where the nodule's middle is then."""
    step = int(SPACINGS[1] / SPACINGS[0])
    move = rng.integers(-JITTER // step, JITTER // step + 1, 3) if rng.random() < 0.8 else np.zeros(3, dtype=int)
    offset = scan.offset[number] - move * SPACINGS[1]
    if scan.kind[number] not in _NOTHING and np.abs(offset).max() > max(2.5, scan.diameter[number] / 2.5):
        move, offset = np.zeros(3, dtype=int), scan.offset[number]
    fine, coarse = (
        channel[tuple(slice(JITTER + scale * m, JITTER + scale * m + SIZE) for m in move)]
        for channel, scale in zip(scan.cubes[number], (step, 1), strict=True)
    )
    cubes = np.stack([fine, coarse])
    mirrored = rng.random(3) < 0.5
    cubes = np.flip(cubes, [axis + 1 for axis in range(3) if mirrored[axis]])
    offset = np.where(mirrored, -offset, offset)
    draw = rng.random()
    if draw < 0.5:
        cubes, offset = cubes.transpose(0, 1, 3, 2), offset[[0, 2, 1]]
    if draw < 0.12:
        cubes, offset = cubes.transpose(0, 2, 1, 3), offset[[1, 0, 2]]
    return cubes, offset


def images(cubes: npt.NDArray[np.uint8], noisy: bool = False) -> torch.Tensor:
    """Cubes in -1..1; as by other scanners, a little lighter or darker and noisier."""
    seen = torch.from_numpy(np.ascontiguousarray(cubes)).float().mul_(2 / 255).sub_(1)
    if noisy:
        one_each = (len(seen), 1, 1, 1, 1)
        seen += torch.randn(one_each) * 0.02 + torch.randn_like(seen) * (torch.rand(one_each) ** 2 * 0.06)
    return seen.contiguous(memory_format=torch.channels_last_3d)


def loss_of(out: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Each cube's loss of the chance, and the whole loss."""
    nodule = torch.from_numpy(batch.nodule)
    each = functional.binary_cross_entropy_with_logits(out[:, 0], nodule, reduction="none")
    one = nodule > 0.5
    offset = torch.from_numpy(batch.offset)[one] / OFFSET_MM
    whole = each.mean() + 0.3 * functional.smooth_l1_loss(out[one, 1:4], offset, beta=0.3)
    first = 4
    for wanted, count in ((batch.margin, len(MARGINS)), (batch.density, out.shape[1] - 4 - len(MARGINS))):
        if (wanted >= 0).any():
            said = out[:, first : first + count]
            whole = whole + 0.1 * functional.cross_entropy(said, torch.from_numpy(wanted), ignore_index=-1)
        first += count
    return each, whole


def train(options: argparse.Namespace) -> None:
    """Train for the time given and keep the average of the last weights."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(options.seed)
    model = start(Reduction(), options.start)
    pool = Pool(options.folders)
    learning = Learning(model, options.out, minutes=options.minutes, rate=options.rate, decay=1e-2)
    for number in learning:
        if number % 100 == 0:
            weights = pool.weights()
        batch = pool.batch(options.batch, weights, rng)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(images(batch.cubes, noisy=True))
        each, whole = loss_of(out.float(), batch)
        learning.step(whole)
        pool.learn(batch, each.detach().numpy())


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--start", type=Path)
    parser.add_argument("--minutes", type=float, default=50)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
