"""Which series of a study an adapter reads, by the rules of its manifest, and the key that an analysis of it has.

The key is free of order and transport: the same images sent again, in another order or over another protocol, give the
same key, and so no second result.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from pydicom.dataset import Dataset

from ai_adapters.manifest import InputRules, Manifest
from ai_adapters.volume import UnusableSeries, orientation

#: Raised by hand whenever code of this package changes what comes out of the same model.
ADAPTER_VERSION = "1"
#: The normal of an axial image lies within this angle of the body's axis, degrees.
_AXIAL_DEGREES = 20.0


def select(manifest: Manifest, instances: Iterable[Dataset]) -> list[Dataset]:
    """The images of the one series to read: of those that fit, the one with the most images, then the thinnest slices.

    Takes data sets without pixels; raises UnusableSeries that says of each series why it does not fit.
    """
    by_series: dict[str, list[Dataset]] = defaultdict(list)
    for instance in instances:
        by_series[str(instance.get("SeriesInstanceUID", ""))].append(instance)
    fitting: list[tuple[tuple[float, float, str], list[Dataset]]] = []
    refused: list[str] = []
    for uid, series in sorted(by_series.items()):
        images = [image for image in series if not _excluded(manifest.input, image)]
        reason = _unfit(manifest.input, images, series)
        if reason is None:
            fitting.append(((-float(len(images)), spacing(images), uid), images))
        else:
            refused.append(reason)
    if not fitting:
        reasons = "; ".join(sorted(set(refused))) or "the study has no images"
        raise UnusableSeries(f"no series fits {manifest.name}: {reasons}")
    return min(fitting, key=lambda each: each[0])[1]


def _excluded(rules: InputRules, image: Dataset) -> bool:
    """Whether an image's Image Type rules it out (a localizer inside the series, say)."""
    kinds = image.get("ImageType") or []
    values = {kinds} if isinstance(kinds, str) else {str(value) for value in kinds}
    return bool(values & set(rules.image_type_excludes))


def _unfit(rules: InputRules, images: Sequence[Dataset], series: Sequence[Dataset]) -> str | None:
    """Why a series does not fit; None where it does."""
    modality = str(series[0].get("Modality", ""))
    if modality not in rules.modality:
        return f"modality {modality or 'missing'} is not {' or '.join(rules.modality)}"
    if len(images) < rules.minimum_slices:
        return f"{len(images)} images, at least {rules.minimum_slices} are needed"
    if len(images) > rules.maximum_slices:
        return f"{len(images)} images, at most {rules.maximum_slices} are read"
    part = str(images[0].get("BodyPartExamined") or "").upper()
    if part and rules.body_part and part not in rules.body_part:
        return f"body part {part} is not {' or '.join(rules.body_part)}"
    if any(not image.get("ImageOrientationPatient") or not image.get("ImagePositionPatient") for image in images):
        return "an image has no ImagePositionPatient or ImageOrientationPatient"
    if abs(float(orientation(images[0])[2, 2])) < np.cos(np.radians(_AXIAL_DEGREES)):
        return "the images are not axial"
    if spacing(images) > rules.maximum_slice_spacing_mm:
        return f"slices are {spacing(images):.2f} mm apart, at most {rules.maximum_slice_spacing_mm:g} mm are read"
    return None


def spacing(images: Sequence[Dataset]) -> float:
    """The usual distance between neighbouring slices, mm."""
    normal = orientation(images[0])[2]
    places = sorted(float(np.asarray(image.ImagePositionPatient, dtype=float) @ normal) for image in images)
    return float(np.median(np.diff(places)))


def input_digest(images: Iterable[Dataset]) -> str:
    """SHA-256 (hex) over the sorted SOP Instance UIDs of the selected images."""
    uids = sorted(str(image.SOPInstanceUID) for image in images)
    return hashlib.sha256("\n".join(uids).encode()).hexdigest()


def analysis_key(manifest: Manifest, images: Iterable[Dataset]) -> str:
    """SHA-256 (hex) that names input, models, manifest and adapter version; equal keys mean equal results."""
    parts = (input_digest(images), manifest.model_digest, manifest.digest, ADAPTER_VERSION)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
