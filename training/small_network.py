"""The network that points at small nodules: a few layers at full resolution, and a few at half.

Its output is the chance that the middle of a small nodule lies in a voxel. It sees about 35 mm; what is larger the
detector finds.
"""

import torch
from torch import nn


def _layer(before: int, after: int, size: int = 3, **more: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(before, after, size, bias=False, **more), nn.BatchNorm3d(after), nn.ReLU(inplace=True)
    )


class Small(nn.Module):
    """HU scaled to -1..1, (batch, 1, z, y, x), each even, to the logit at each voxel."""

    def __init__(self, fine: int = 12, coarse: int = 32) -> None:
        """Make the layers; channels at full and at half resolution."""
        super().__init__()
        self.one = nn.Sequential(_layer(1, fine, padding=1), _layer(fine, fine, padding=1))
        self.down = _layer(fine, coarse, 2, stride=2)
        self.two = nn.Sequential(
            _layer(coarse, coarse, padding=1),
            _layer(coarse, coarse, padding=2, dilation=2),
            _layer(coarse, coarse, padding=1),
        )
        self.up = nn.ConvTranspose3d(coarse, fine, 2, stride=2)
        self.back = _layer(fine, fine, padding=1)
        self.out = nn.Conv3d(fine, 1, 1)
        nn.init.constant_(self.out.bias, -4.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        one = self.one(x)
        return self.out(self.back(one + self.up(self.two(self.down(one)))))


class Exported(nn.Module):
    """The network as the bundle holds it: chances instead of logits."""

    def __init__(self, small: Small) -> None:
        """Wrap a trained network."""
        super().__init__()
        self.small = small

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """0..1."""
        return torch.sigmoid(self.small(x))
