"""Finds what the network mistakes for nodules in its own training cases: python -m training.mine CHECKPOINT CASE...

Writes ``hard.npy`` (voxel places) into each case; training then cuts patches there.
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from ai_adapters.lung_mask import grown
from training.cases import SPACING, Case, read_case
from training.network import Detector
from training.patches import normalised

_TILE, _MARGIN = 96, 8


def heat_map(model: Detector, case: Case) -> npt.NDArray[np.float32]:
    """Heat (half resolution) over the whole case."""
    inner = _TILE - 2 * _MARGIN
    heat = np.zeros(tuple(-(-n // 2) for n in case.hu.shape), dtype=np.float32)
    for corner in np.ndindex(*(-(-n // inner) for n in case.hu.shape)):
        low = np.array(corner) * inner
        axes = [
            np.clip(np.arange(a - _MARGIN, a - _MARGIN + _TILE), 0, n - 1)
            for a, n in zip(low, case.hu.shape, strict=True)
        ]
        image = torch.from_numpy(normalised(case.hu[np.ix_(*axes)].astype(np.float32)))[None, None]
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            found = torch.sigmoid(model(image.contiguous(memory_format=torch.channels_last_3d))[0].float())[
                0, 0
            ].numpy()
        target = tuple(slice(a // 2, (a + inner) // 2) for a in low)
        room = heat[target].shape
        heat[target] = found[tuple(slice(_MARGIN // 2, _MARGIN // 2 + n) for n in room)]
    return heat


def mistakes(model: Detector, case: Case, most: int, least: float) -> npt.NDArray[np.int_]:
    """The highest peaks that are neither nodules nor ignored, as voxel places."""
    heat = heat_map(model, case)
    near = grown(case.lung[::2, ::2, ::2], 2.0)
    asked = near & ~case.ignore[::2, ::2, ::2] & (case.share[::2, ::2, ::2] == 0)
    top = (heat == ndimage.maximum_filter(heat, 3)) & (heat >= least) & asked
    places = np.argwhere(top)[np.argsort(-heat[top])] * 2
    kept = [
        place
        for place in places
        if all(np.linalg.norm(place - nodule[:3]) > nodule[3] / SPACING / 2 + 3 for nodule in case.nodules)
    ]
    return np.array(kept[:most], dtype=int).reshape(-1, 3)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("cases", type=Path, nargs="+")
    parser.add_argument("--most", type=int, default=60)
    parser.add_argument("--least", type=float, default=0.05)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = Detector().to(memory_format=torch.channels_last_3d)
    model.load_state_dict(torch.load(options.checkpoint, weights_only=True))
    model.eval()
    for folder in options.cases:
        found = mistakes(model, read_case(folder), options.most, options.least)
        np.save(folder / "hard.npy", found)
        print(f"{folder.name}: {len(found)} places", flush=True)


if __name__ == "__main__":
    main()
