"""Puts a checkpoint into a bundle folder: python -m training.bundle CHECKPOINT FOLDER --threshold T --data TEXT...

Exports, halves, digests, and writes the manifest. The Device UID comes from the model's digest, so it changes whenever
the model does.
"""

import argparse
import hashlib
import json
import tempfile
from pathlib import Path

from training.compress import compress
from training.export import export
from training.patches import WINDOW

VERSION = "0.1.0"
INTENDED_USE = (
    "Reference model of an interoperability server: it shows the way of a finding from pixels to reports. "
    "Not a medical device; not for diagnosis."
)


def manifest(
    name: str, digest: str, threshold: float, data: list[str], metrics: list[dict[str, object]]
) -> dict[str, object]:
    """The content of manifest.json."""
    return {
        "schema": "hutong-adapter/1",
        "name": name,
        "title": "Hutong nodule detection",
        "version": f"{VERSION}+{digest[:8]}",
        "creator": "Hutong",
        "device_uid": f"2.25.{int(digest[:32], 16)}",
        "task": "nodule_detection",
        "models": {"detector": {"file": "detector.onnx", "sha256": digest}},
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
        "patches": {"tile": 96, "margin": 10, "crop": 48, "most_candidates": 24, "apart_mm": 5.0},
        "outputs": {"heat": "heat", "share": "share"},
        "thresholds": {"candidate": 0.05, "report": threshold, "known": 0.25},
        "repeatability": json.loads(Path(__file__).with_name("repeatability.json").read_text(encoding="utf-8")),
        "accuracy": json.loads(Path(__file__).with_name("accuracy.json").read_text(encoding="utf-8")),
        "codes": {
            "finding": {"value": "27925004", "scheme": "SCT", "meaning": "Nodule"},
            "site": {"value": "39607008", "scheme": "SCT", "meaning": "Lung"},
        },
        "training_data": data,
        "metrics": metrics,
        "intended_use": INTENDED_USE,
        "licence": "Apache-2.0",
    }


def write(checkpoint: Path, folder: Path, threshold: float, data: list[str], metrics: list[dict[str, object]]) -> None:
    """Write detector.onnx and manifest.json."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        full = Path(place) / "full.onnx"
        export(checkpoint, full)
        compress(full, folder / "detector.onnx")
    digest = hashlib.sha256((folder / "detector.onnx").read_bytes()).hexdigest()
    text = json.dumps(manifest(folder.name, digest, threshold, data, metrics), indent=1)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threshold", type=float, default=0.3)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--metrics", type=Path, help="JSON list of {data, name, value}")
    options = parser.parse_args()
    metrics = json.loads(options.metrics.read_text(encoding="utf-8")) if options.metrics else []
    write(options.checkpoint, options.folder, options.threshold, options.data, metrics)


if __name__ == "__main__":
    main()
