"""The truth beside the images, as JSON."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from conformance.phantom.dicom import Identity
from conformance.phantom.make import Study


def as_dict(study: Study, identity: Identity) -> dict[str, Any]:
    """All that is known of one study; lengths in mm, places in patient coordinates (LPS)."""
    scan = study.scan
    return {
        "seed": study.scene.seed,
        "study_uid": identity.study,
        "series_uid": identity.series,
        "frame_of_reference_uid": identity.frame,
        "study_date": study.when.isoformat(),
        "sex": study.scene.patient.sex,
        "kernel": scan.kernel,
        "noise_hu": round(scan.noise, 2),
        "slice_thickness_mm": scan.thickness,
        "spacing_mm": list(scan.grid.spacing),
        "origin_mm": list(scan.grid.origin),
        "shape": list(scan.grid.shape),
        "nodules": [
            {
                "tracking_id": f"Nodule {nodule.number}",
                "tracking_uid": identity.lesion(nodule.number),
                **{k: list(v) if isinstance(v, tuple) else v for k, v in asdict(nodule).items()},
            }
            for nodule in study.truth
        ],
    }


def write(study: Study, identity: Identity, path: Path) -> dict[str, Any]:
    """Write ``truth.json``; returns what it says."""
    content = as_dict(study, identity)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return content
