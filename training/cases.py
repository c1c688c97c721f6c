"""Volumes to train on: one folder of arrays a case, made once from a CT or a phantom, on the network's grid.

``hu.npy`` int16, ``lung.npy`` bool, ``share.npy`` uint8 (255 = wholly nodule), ``ignore.npy`` bool (neither nodule nor
background), ``nodules.json`` (centre in voxels, diameter in mm), ``hard.npy`` (places that were mistaken for nodules).
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from scipy import ndimage

from ai_adapters.evaluation.lidc import lesions
from ai_adapters.lung_mask import grown, lung_mask
from ai_adapters.volume import Volume, crop, load, resample

SPACING = 1.5
#: Lung and this much around it is kept, mm.
_MARGIN_MM = 30


@dataclass(kw_only=True)
class Case:
    """One volume in memory."""

    name: str
    hu: npt.NDArray[np.int16]
    lung: npt.NDArray[np.bool_]
    share: npt.NDArray[np.uint8]
    ignore: npt.NDArray[np.bool_]
    #: Rows of (z, y, x, diameter_mm).
    nodules: npt.NDArray[np.float64]
    hard: npt.NDArray[np.int_]
    #: Flat indexes of voxels in the lung, thinned.
    inside: npt.NDArray[np.int_]
    #: Flat indexes of voxels near the border of the lung, thinned.
    border: npt.NDArray[np.int_]


def read_case(folder: Path) -> Case:
    """A case as it was written by ``write_case``."""
    lung = np.load(folder / "lung.npy")
    depth = ndimage.distance_transform_edt(lung)
    hard = folder / "hard.npy"
    return Case(
        name=folder.name,
        hu=np.load(folder / "hu.npy"),
        lung=lung,
        share=np.load(folder / "share.npy"),
        ignore=np.load(folder / "ignore.npy"),
        nodules=np.array(json.loads((folder / "nodules.json").read_text()), dtype=float).reshape(-1, 4),
        hard=np.load(hard) if hard.exists() else np.zeros((0, 3), dtype=int),
        inside=np.flatnonzero(lung)[::7],
        border=np.flatnonzero((depth > 0) & (depth < 3))[::3],
    )


def write_case(folder: Path, volume: Volume, marks: list[tuple[npt.NDArray[np.float32], bool, list[float]]]) -> None:
    """Resample and crop a volume; a mark is (share on its grid, is it certain, [z, y, x of the centre, diameter])."""
    coarse = resample(volume, 3.0)
    found = np.argwhere(lung_mask(coarse.voxels, 3.0))
    corners = [
        coarse.to_patient(found.min(axis=0) - _MARGIN_MM / 3),
        coarse.to_patient(found.max(axis=0) + _MARGIN_MM / 3),
    ]
    low = np.maximum(np.floor(volume.to_index(corners[0])).astype(int), 0)
    high = np.minimum(np.ceil(volume.to_index(corners[1])).astype(int), volume.voxels.shape)
    part = resample(crop(volume, low.tolist(), high.tolist()), SPACING)
    share = np.zeros(part.voxels.shape, dtype=np.float32)
    ignore = np.zeros(part.voxels.shape, dtype=bool)
    nodules = []
    for mark, certain, (k, j, i, size) in marks:
        scaled = Volume(voxels=np.rint(mark * 1000).astype(np.int16), affine=volume.affine, sources=volume.sources)
        here = resample(crop(scaled, low.tolist(), high.tolist()), SPACING).voxels / 1000
        if certain:
            share = np.maximum(share, here)
            z, y, x = part.to_index(volume.to_patient((k, j, i)))
            nodules.append([z, y, x, size])
        else:
            ignore |= here > 0.02
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "hu.npy", part.voxels)
    np.save(folder / "lung.npy", lung_mask(part.voxels, SPACING))
    np.save(folder / "share.npy", np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8))
    np.save(folder / "ignore.npy", grown(ignore, 2.0) if ignore.any() else ignore)
    (folder / "nodules.json").write_text(json.dumps(nodules))


def from_lidc(study: Path, xml: Path, folder: Path) -> None:
    """A case from a LIDC-IDRI study: lesions of all four readers are nodules, other marks are ignored."""
    volume = load([pydicom.dcmread(file) for file in sorted(study.rglob("*.dcm"))])
    marks = []
    for lesion in lesions(xml, volume):
        whole = np.zeros(volume.voxels.shape, dtype=np.float32)
        box = tuple(slice(a, a + b) for a, b in zip(lesion.origin, lesion.share.shape, strict=True))
        whole[box] = lesion.share
        marks.append((whole, lesion.readers == 4, [*lesion.index, lesion.diameter_mm]))
    write_case(folder, volume, marks)


def from_phantom(file: Path, folder: Path) -> None:
    """A case from a phantom's npz; the shares are scaled to the true volumes, since the label is whole voxels."""
    with np.load(file) as phantom:
        spacing, origin = phantom["spacing"], phantom["origin"]
        truth = json.loads(str(phantom["truth"]))
        hu, label = phantom["hu"], phantom["label"]
    affine = np.zeros((4, 4))
    # Axial: slices towards the head, rows to the back, columns to the left.
    affine[2, 0], affine[1, 1], affine[0, 2] = spacing
    affine[:3, 3], affine[3, 3] = origin, 1
    volume = Volume(voxels=hu, affine=affine)
    marks = []
    for nodule in truth["nodules"]:
        mark = (label == nodule["number"]).astype(np.float32)
        here = float(mark.sum()) * float(np.prod(spacing))
        mark *= float(np.clip(nodule["volume_mm3"] / max(here, 1.0), 0.5, 1.5))
        marks.append((mark, True, [*volume.to_index(nodule["center_mm"]), nodule["diameter_mm"]]))
    write_case(folder, volume, marks)


def main() -> None:
    """python -m training.cases lidc STUDY XML FOLDER | phantom NPZ FOLDER."""
    kind, *places = sys.argv[1:]
    paths = [Path(place) for place in places]
    {"lidc": from_lidc, "phantom": from_phantom}[kind](*paths)


if __name__ == "__main__":
    main()
