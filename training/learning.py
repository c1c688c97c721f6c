"""How all three networks learn: AdamW, a short climb and a cosine, the average of the last weights kept."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn


class Learning:
    """A model that learns for a given time; iterate for its steps, and give each step's losses to ``step``."""

    def __init__(
        self, model: nn.Module, out: Path, *, minutes: float, rate: float, decay: float, keep: float = 0.995
    ) -> None:
        """``decay`` of the weights, ``keep`` of their average at each step; ``out`` gets the average."""
        self.model, self.out, self.minutes, self.rate = model, out, minutes, rate
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
        mean = torch.optim.swa_utils.get_ema_multi_avg_fn(keep)
        self.average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=mean, use_buffers=True)
        self.steps, self.spent = 0, 0.0
        self.losses: list[tuple[float, ...]] = []

    def __iter__(self) -> Iterator[int]:
        """Step numbers until the time is over."""
        begun = time.monotonic()
        while (spent := (time.monotonic() - begun) / 60 / self.minutes) < 1:
            self.spent = spent
            # A short climb, then a cosine down to a fiftieth.
            now = self.rate * min(1, (self.steps + 1) / 60, 0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * spent)))
            for group in self.optimizer.param_groups:
                group["lr"] = now
            yield self.steps
        self.save()
        print(f"done after {self.steps} steps", flush=True)

    def step(self, *losses: torch.Tensor, every: int = 50) -> None:
        """Learn from the sum of the losses; tell their means and save now and then."""
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack(losses).sum().backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 2.0)
        self.optimizer.step()
        self.average.update_parameters(self.model)
        self.steps += 1
        self.losses.append(tuple(loss.item() for loss in losses))
        if self.steps % every == 0:
            means = " ".join(f"{mean:.4f}" for mean in np.mean(self.losses, axis=0))
            print(f"{self.spent:6.3f} step {self.steps} loss {means}", flush=True)
            self.losses.clear()
            self.save()

    def save(self) -> None:
        """Write the averaged weights."""
        torch.save(self.average.module.state_dict(), self.out)


def start(model: nn.Module, checkpoint: Path | None) -> nn.Module:
    """The model as it is learnt best on a CPU, from a checkpoint if there is one."""
    if checkpoint:
        model.load_state_dict(torch.load(checkpoint, weights_only=True))
    return model.to(memory_format=torch.channels_last_3d)
