"""Trains the detector: python -m training.train OUT CASE... [--weights W...] [--start CHECKPOINT] [--minutes M].

Seeded; what it prints (loss, speed) goes to the log that the caller keeps.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from training.cases import read_case
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


def rate(options: argparse.Namespace, spent: float, steps: int) -> float:
    """A short climb, then a cosine down to a fiftieth."""
    return float(options.rate * min(1, (steps + 1) / 50, 0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * spent))))


def train(options: argparse.Namespace) -> None:
    """Train for the time given and keep the average of the last weights."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    model = Detector().to(memory_format=torch.channels_last_3d)
    if options.start:
        model.load_state_dict(torch.load(options.start, weights_only=True))
    loader = batches(options)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate, weight_decay=1e-3)
    mean = torch.optim.swa_utils.get_ema_multi_avg_fn(0.995)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=mean, use_buffers=True)
    begun, steps, sums = time.monotonic(), 0, np.zeros(2)
    while (spent := (time.monotonic() - begun) / 60 / options.minutes) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate(options, spent, steps)
        batch = next(loader)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            heat, share = model(batch[0].contiguous(memory_format=torch.channels_last_3d))
        focal, filled = loss_of(heat.float(), share.float(), batch)
        optimizer.zero_grad(set_to_none=True)
        (focal + filled).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()
        average.update_parameters(model)
        steps += 1
        sums += (focal.item(), filled.item())
        if steps % options.every == 0:
            focal_mean, share_mean = sums / options.every
            speed = steps * options.batch / (time.monotonic() - begun)
            print(f"{spent:6.3f} step {steps} heat {focal_mean:.4f} share {share_mean:.4f} {speed:.1f}/s", flush=True)
            sums[:] = 0
            torch.save(average.module.state_dict(), options.out)
    torch.save(average.module.state_dict(), options.out)
    print(f"done after {steps} steps", flush=True)


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
