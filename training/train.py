"""Trains the detector: python -m training.train OUT CASE... [--weights W...] [--start CHECKPOINT] [--minutes M].

Seeded; what it prints (loss, speed) goes to the log that the caller keeps.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from training.cases import read_case
from training.learning import Learning, start
from training.network import Detector
from training.patches import patches

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class Patches(IterableDataset[tuple[np.ndarray, ...]]):
    """Patches of the cases, another stream in each worker."""

    def __init__(self, folders: list[Path], weights: list[float], seed: int) -> None:
        """Read the cases once; workers share the memory."""
        self.cases = [read_case(folder) for folder in folders]
        self.weights = weights
        self.seed = seed

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        """Arrays of (image, heat, heat weight, share, share weight), each with a channel."""
        worker = get_worker_info()
        for patch in patches(self.cases, self.weights, self.seed * 1000 + (worker.id if worker else 0)):
            yield (
                patch.image[None],
                patch.heat[None],
                patch.heat_weight[None],
                patch.share[None],
                patch.share_weight[None],
            )


def loss_of(heat: torch.Tensor, share: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Focal loss of the heat map (CornerNet, arXiv 1808.01244, eq. 1) and cross entropy with Dice of the share."""
    _, target, weight, target_share, share_weight = batch
    chance = torch.sigmoid(heat).clamp(1e-4, 1 - 1e-4)
    peak = (target > 0.99).float()
    hit = -((1 - chance) ** 2) * chance.log() * peak
    miss = -((1 - target) ** 4) * chance**2 * (1 - chance).log() * (1 - peak) * weight
    focal = (hit.sum() + miss.sum()) / peak.sum().clamp(min=1)
    # No voxel weighs more for being nodule: that would make all volumes too large.
    entropy = functional.binary_cross_entropy_with_logits(share, target_share, reduction="none") * share_weight
    filled = torch.sigmoid(share) * (share_weight > 0.5)
    each = (1, 2, 3, 4)
    dice = 1 - (2 * (filled * target_share).sum(each) + 5) / (filled.sum(each) + target_share.sum(each) + 5)
    return focal, 4 * entropy.sum() / share_weight.sum().clamp(min=100) + 0.1 * dice.mean()


def batches(options: argparse.Namespace) -> Iterator[Batch]:
    """Batches without end, made by workers."""
    weights = options.weights or [1.0] * len(options.cases)
    data = Patches(options.cases, weights, options.seed)
    return iter(DataLoader(data, batch_size=options.batch, num_workers=options.workers, prefetch_factor=4))


def train(options: argparse.Namespace) -> None:
    """Train for the time given and keep the average of the last weights."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    model = start(Detector(), options.start)
    loader = batches(options)
    learning = Learning(model, options.out, minutes=options.minutes, rate=options.rate, decay=1e-3)
    for _ in learning:
        batch = next(loader)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            heat, share = model(batch[0].contiguous(memory_format=torch.channels_last_3d))
        learning.step(*loss_of(heat.float(), share.float(), batch), every=options.every)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("cases", type=Path, nargs="+")
    parser.add_argument("--weights", type=float, nargs="*")
    parser.add_argument("--start", type=Path)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
