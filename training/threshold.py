"""Reads phantoms with a checkpoint and freezes its threshold: python -m training.threshold CHECKPOINT NPZ...

The rule, set before any CT was opened for measuring: the lowest threshold (in steps of 0.01, not below 0.2) at which
the tuning phantoms have at most half a false positive a scan.
Runs in torch with bfloat16, a fifth of the bundle's cost.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from ai_adapters.evaluation.figures import figures_json
from ai_adapters.evaluation.froc import Found, Scan, judge
from ai_adapters.tasks.nodule_detection import Block, Network, Plan, detect
from benchmarks.froc import by_density, read_phantom, summary
from training.network import Detector
from training.patches import WINDOW

PLAN = Plan(
    spacing_mm=1.5, window=WINDOW, tile=96, margin=10, crop=48, candidate=0.05, most_candidates=24, apart_mm=5.0
)
_ALLOWED, _LEAST = 0.5, 0.2


def network(checkpoint: Path) -> Network:
    """The checkpoint as the detection task wants it."""
    model = Detector().to(memory_format=torch.channels_last_3d)
    model.load_state_dict(torch.load(checkpoint, weights_only=True))
    model.eval()

    def read(blocks: Block) -> tuple[Block, Block]:
        image = torch.from_numpy(np.ascontiguousarray(blocks))[:, None].contiguous(memory_format=torch.channels_last_3d)
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            heat, share = model(image)
        return torch.sigmoid(heat.float())[:, 0].numpy(), torch.sigmoid(share.float())[:, 0].numpy()

    return read


def read_scan(name: str, file: Path, read: Network) -> Scan:
    """All candidates of one phantom."""
    volume, reference = read_phantom(file)
    reading = detect(volume, read, PLAN)
    cubic = float(np.prod(reading.grid.spacing))
    found = tuple(
        Found(
            center_mm=reading.grid.to_patient(nodule.index),
            confidence=nodule.confidence,
            volume_mm3=float(nodule.share.sum()) * cubic,
        )
        for nodule in reading.nodules
    )
    return Scan(name=name, seconds=0.0, truths=reference.truths, found=found)


def threshold(scans: list[Scan]) -> float:
    """The rule."""
    false = np.array([score for scan in scans for score in judge(scan).false])
    steps = np.arange(_LEAST, 1.0, 0.01)
    enough = [step for step in steps if (false >= step).sum() <= _ALLOWED * len(scans)]
    return round(float(enough[0]), 2)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("phantoms", type=Path, nargs="+")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    read = network(options.checkpoint)
    scans = []
    for file in options.phantoms:
        scans.append(read_scan(file.stem, file, read))
        hits = [(hit.truth.density, hit.truth.diameter_mm, round(hit.confidence, 2)) for hit in judge(scans[-1]).hits]
        print(
            file.stem,
            hits,
            [round(score, 2) for score in sorted(judge(scans[-1]).false, reverse=True)[:8]],
            flush=True,
        )
    frozen = threshold(scans)
    print(
        "threshold",
        frozen,
        json.dumps({one.stratum.name: figures_json(one) for one in by_density(scans, frozen)}),
    )
    if options.json:
        report = {**summary("checkpoint", scans, frozen), "readings": [asdict(scan) for scan in scans]}
        options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
