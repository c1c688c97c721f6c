"""The network: a 3-D residual U-Net that starts at half resolution and ends twice.

``heat`` (half resolution) is the chance that a nodule's centre lies in the voxel; ``share`` (full resolution) is the
part of the voxel that the nodule fills.
"""

import torch
from torch import nn


class Block(nn.Module):
    """Two 3x3x3 convolutions with a way around them."""

    def __init__(self, channels: int) -> None:
        """Make the layers."""
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm3d(channels),
            nn.ReLU(inplace=True),
            nn.Conv3d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm3d(channels),
        )
        self.last = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        return self.last(x + self.body(x))


def down(before: int, after: int) -> nn.Sequential:
    """Halve the grid."""
    return nn.Sequential(
        nn.Conv3d(before, after, 2, stride=2, bias=False), nn.BatchNorm3d(after), nn.ReLU(inplace=True)
    )


class Detector(nn.Module):
    """HU scaled to -1..1, (batch, 1, z, y, x), each a multiple of 16, to the logits of heat and share."""

    def __init__(self, channels: tuple[int, int, int, int] = (32, 48, 64, 64)) -> None:
        """Make the layers; ``channels`` at 1/2, 1/4, 1/8 and 1/16 resolution."""
        super().__init__()
        a, b, c, d = channels
        # Eight neighbours become channels first, so that the dear convolutions run on an eighth of the voxels.
        self.stem = nn.Sequential(
            nn.Conv3d(1, 16, 2, stride=2),
            nn.Conv3d(16, a, 3, padding=1, bias=False),
            nn.BatchNorm3d(a),
            nn.ReLU(inplace=True),
        )
        self.one, self.two, self.three, self.four = Block(a), Block(b), Block(c), Block(d)
        self.to_two, self.to_three, self.to_four = down(a, b), down(b, c), down(c, d)
        self.up_three = nn.ConvTranspose3d(d, c, 2, stride=2)
        self.up_two = nn.ConvTranspose3d(c, b, 2, stride=2)
        self.up_one = nn.ConvTranspose3d(b, a, 2, stride=2)
        self.back_three, self.back_two, self.back_one = Block(c), Block(b), Block(a)
        self.heat = nn.Conv3d(a, 1, 1)
        self.share = nn.ConvTranspose3d(a, 1, 2, stride=2)
        nn.init.constant_(self.heat.bias, -4.0)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of (heat, share)."""
        one = self.one(self.stem(x))
        two = self.two(self.to_two(one))
        three = self.three(self.to_three(two))
        four = self.four(self.to_four(three))
        three = self.back_three(three + self.up_three(four))
        two = self.back_two(two + self.up_two(three))
        one = self.back_one(one + self.up_one(two))
        return self.heat(one), self.share(one)


class Exported(nn.Module):
    """The detector as the bundle holds it: chances instead of logits."""

    def __init__(self, detector: Detector) -> None:
        """Wrap a trained detector."""
        super().__init__()
        self.detector = detector

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(heat, share), each 0..1."""
        heat, share = self.detector(x)
        return torch.sigmoid(heat), torch.sigmoid(share)
