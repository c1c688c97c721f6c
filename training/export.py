"""Writes a checkpoint as ONNX: python -m training.export CHECKPOINT OUT.onnx."""

import argparse
from pathlib import Path

import onnx
import torch

from training import reduction_network, small_network
from training.cubes import SIZE, SPACINGS
from training.network import Detector, Exported


def export(checkpoint: Path, out: Path) -> None:
    """Fold, export with free batch and size, and check."""
    detector = Detector()
    detector.load_state_dict(torch.load(checkpoint, weights_only=True))
    model = Exported(detector).eval()
    names = {0: "batch", 2: "z", 3: "y", 4: "x"}
    halves = {0: "batch", 2: "half_z", 3: "half_y", 4: "half_x"}
    torch.onnx.export(
        model,
        (torch.zeros(1, 1, 48, 48, 48),),
        str(out),
        input_names=["image"],
        output_names=["heat", "share"],
        dynamic_axes={"image": names, "heat": halves, "share": names},
        opset_version=17,
        dynamo=False,
    )
    onnx.checker.check_model(onnx.load(out), full_check=True)


def export_reduction(checkpoint: Path, out: Path) -> None:
    """The second network, with free batch."""
    reduction = reduction_network.Reduction()
    reduction.load_state_dict(torch.load(checkpoint, weights_only=True))
    names = ("chance", "offset", "density")
    torch.onnx.export(
        reduction_network.Exported(reduction).eval(),
        (torch.zeros(2, len(SPACINGS), SIZE, SIZE, SIZE),),
        str(out),
        input_names=["cubes"],
        output_names=list(names),
        dynamic_axes={name: {0: "batch"} for name in ("cubes", *names)},
        opset_version=17,
        dynamo=False,
    )
    onnx.checker.check_model(onnx.load(out), full_check=True)


def export_small(checkpoint: Path, out: Path) -> None:
    """The network that points at small nodules, with free batch and size."""
    small = small_network.Small()
    small.load_state_dict(torch.load(checkpoint, weights_only=True))
    torch.onnx.export(
        small_network.Exported(small).eval(),
        (torch.zeros(1, 1, 48, 48, 48),),
        str(out),
        input_names=["voxels"],
        output_names=["small"],
        dynamic_axes={name: {0: "batch", 2: "z", 3: "y", 4: "x"} for name in ("voxels", "small")},
        opset_version=17,
        dynamo=False,
    )
    onnx.checker.check_model(onnx.load(out), full_check=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    export(options.checkpoint, options.out)


if __name__ == "__main__":
    main()
