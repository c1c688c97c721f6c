"""The second network: looks at one candidate from near by and says what it is.

Two cubes about the same middle, one as fine as the CT and one twice as far, are the channels of its input. It ends in
``chance`` (that it is a nodule), ``offset`` (mm from the middle to the nodule's, z, y, x) and ``density``; the margin
is asked of it in training only.
"""

import torch
from torch import nn

from training.cubes import DENSITIES, MARGINS, OFFSET_MM
from training.network import Block, down


class Reduction(nn.Module):
    """HU scaled to -1..1, (batch, 2, 40, 40, 40), to (chance's logit, offset / 3 mm, margin, density logits)."""

    def __init__(self, channels: tuple[int, int, int] = (24, 48, 80)) -> None:
        """Make the layers; ``channels`` at 1/2, 1/4 and 1/8 resolution."""
        super().__init__()
        a, b, c = channels
        self.body = nn.Sequential(
            nn.Conv3d(2, a, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm3d(a),
            nn.ReLU(inplace=True),
            Block(a),
            down(a, b),
            Block(b),
            down(b, c),
            Block(c),
        )
        # What lies in the middle is asked for, so places are kept apart until the end.
        self.middle = nn.Sequential(nn.Conv3d(c, 24, 1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(24 * 125, 96))
        self.whole = nn.Linear(c, 96)
        self.drop = nn.Dropout(0.2)
        self.ends = nn.Linear(96, 1 + 3 + len(MARGINS) + len(DENSITIES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All logits side by side."""
        seen = self.body(x)
        joined = torch.relu(self.middle(seen) + self.whole(seen.amax(dim=(2, 3, 4))))
        return self.ends(self.drop(joined))


class Exported(nn.Module):
    """The second network as the bundle holds it: chances and millimetres instead of logits."""

    def __init__(self, reduction: Reduction) -> None:
        """Wrap a trained network."""
        super().__init__()
        self.reduction = reduction

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(chance, offset in mm, chances of the densities)."""
        out = self.reduction(x)
        densities = torch.softmax(out[:, -len(DENSITIES) :], dim=1)
        return torch.sigmoid(out[:, :1]), out[:, 1:4] * OFFSET_MM, densities
