"""Puts checkpoints into a bundle folder:

    python -m training.bundle CHECKPOINT FOLDER [--reduction CHECKPOINT [--small CHECKPOINT]] --threshold T --data ...

Exports, halves, digests, and writes the manifest. The Device UID comes from the models' digests, so it changes whenever
a model does. A checkpoint may also be an ONNX file that was exported before.
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from training.compress import compress
from training.cubes import LOOK
from training.export import export, export_reduction, export_small
from training.patches import WINDOW

VERSION = "0.2.0"
INTENDED_USE = (
    "Reference model of an interoperability server: it shows the way of a finding from pixels to reports. "
    "Not a medical device; not for diagnosis."
)


def _reduction(small: bool) -> dict[str, object]:
    """How candidates are looked at again, as the manifest says it."""
    return {
        "size": LOOK.cube.size,
        "spacings_mm": list(LOOK.cube.spacings_mm),
        "peaks": LOOK.peaks,
        "least_heat": LOOK.least_heat,
        "apart_mm": LOOK.apart_mm,
        "batch": LOOK.batch,
        **({"small": LOOK.small, "least_small": LOOK.least_small} if small else {}),
    }


def manifest(
    name: str, digests: dict[str, str], thresholds: dict[str, float], data: list[str], metrics: list[dict[str, object]]
) -> dict[str, object]:
    """The content of manifest.json; ``digests`` by the models' names."""
    digest = next(iter(digests.values()))
    if len(digests) > 1:
        digest = hashlib.sha256(" ".join(digests.values()).encode()).hexdigest()
    outputs = ["heat", "share", *(["chance", "offset", "density"] if "reduction" in digests else [])]
    return {
        "schema": "hutong-adapter/1",
        "name": name,
        "title": "Hutong nodule detection",
        "version": f"{VERSION}+{digest[:8]}",
        "creator": "Hutong",
        "device_uid": f"2.25.{int(digest[:32], 16)}",
        "task": "nodule_detection",
        "models": {model: {"file": f"{model}.onnx", "sha256": one} for model, one in digests.items()},
        "input": {
            "modality": ["CT"],
            "body_part": ["CHEST", "LUNG", "THORAX", "LUNGS", "CHEST_TO_ABDOMEN", "CHESTABDOMEN", "CHESTABDPELVIS"],
            "image_type_excludes": ["LOCALIZER", "SECONDARY", "SCOUT"],
            "minimum_slices": 30,
            "maximum_slices": 1500,
            "maximum_slice_spacing_mm": 3.5,
            "orientation": "axial",
        },
        "preprocessing": {"spacing_mm": 1.5, "window_hu": list(WINDOW)},
        "patches": {"tile": 160, "margin": 10, "crop": 48, "most_candidates": 24, "apart_mm": 5.0},
        **({"reduction": _reduction("small" in digests)} if "reduction" in digests else {}),
        "outputs": {name: name for name in [*outputs, *(["small"] if "small" in digests else [])]},
        "thresholds": {"candidate": 0.05, **thresholds},
        **_beside("repeatability", "accuracy"),
        "codes": {
            "finding": {"value": "27925004", "scheme": "SCT", "meaning": "Nodule"},
            "site": {"value": "39607008", "scheme": "SCT", "meaning": "Lung"},
        },
        "training_data": data,
        "metrics": metrics,
        "intended_use": INTENDED_USE,
        "licence": "Apache-2.0",
    }


def _beside(*names: str) -> dict[str, object]:
    """What was measured, from the files beside this one."""
    return {name: json.loads(Path(__file__).with_name(f"{name}.json").read_text(encoding="utf-8")) for name in names}


def put(checkpoint: Path, target: Path, exported: Callable[[Path, Path], None]) -> str:
    """Write one model; its digest (hex)."""
    if checkpoint.suffix == ".onnx":
        target.write_bytes(checkpoint.read_bytes())
    else:
        with tempfile.TemporaryDirectory() as place:
            full = Path(place) / "full.onnx"
            exported(checkpoint, full)
            compress(full, target)
    return hashlib.sha256(target.read_bytes()).hexdigest()


def write(options: argparse.Namespace) -> None:
    """Write the models and manifest.json."""
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    digests = {"detector": put(options.checkpoint, folder / "detector.onnx", export)}
    if options.reduction:
        digests["reduction"] = put(options.reduction, folder / "reduction.onnx", export_reduction)
    if options.small:
        digests["small"] = put(options.small, folder / "small.onnx", export_small)
    metrics = json.loads(options.metrics.read_text(encoding="utf-8")) if options.metrics else []
    thresholds = {"report": options.threshold, "known": options.known}
    text = json.dumps(manifest(folder.name, digests, thresholds, options.data, metrics), indent=1)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--reduction", type=Path, help="checkpoint of the second network")
    parser.add_argument("--small", type=Path, help="checkpoint of the network that points at small nodules")
    parser.add_argument("--threshold", type=float, default=0.3)
    parser.add_argument("--known", type=float, default=0.25, help="threshold where a lesion is known to have been")
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--metrics", type=Path, help="JSON list of {data, name, value}")
    write(parser.parse_args())


if __name__ == "__main__":
    main()
