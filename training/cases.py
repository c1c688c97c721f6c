"""Volumes to train on: one folder of arrays a case, made once from a CT or a phantom, on the network's grid.

``hu.npy`` int16, ``lung.npy`` bool, ``share.npy`` uint8 (255 = wholly nodule), ``ignore.npy`` bool (neither nodule nor
background), ``nodules.json`` (centre in voxels, diameter in mm), ``hard.npy`` (places that were mistaken for nodules).
"""

import json
import sys
from dataclasses import dataclass, replace
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


#: Corner of a box in the volume, the share of each voxel in it, whether it is certain, [z, y, x of the centre, mm].
Mark = tuple[tuple[int, ...], npt.NDArray[np.float32], bool, list[float]]


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
    border = lung & ~ndimage.binary_erosion(lung, iterations=3)
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
        border=np.flatnonzero(border)[::3],
    )


def write_case(folder: Path, volume: Volume, marks: list[Mark]) -> None:
    """Resample and crop a volume with what is known of it."""
    coarse = resample(volume, 3.0)
    found = np.argwhere(lung_mask(coarse.voxels, 3.0))
    corners = [
        coarse.to_patient(found.min(axis=0) - _MARGIN_MM / 3),
        coarse.to_patient(found.max(axis=0) + _MARGIN_MM / 3),
    ]
    low = np.maximum(np.floor(volume.to_index(corners[0])).astype(int), 0)
    high = np.minimum(np.ceil(volume.to_index(corners[1])).astype(int), volume.voxels.shape)
    part = resample(crop(volume, low.tolist(), high.tolist()), SPACING)

    def placed(certain: bool) -> npt.NDArray[np.float32]:
        """All marks of one kind on the coarse grid, the largest share where two meet."""
        whole = np.zeros(volume.voxels.shape, dtype=np.float32)
        for origin, mark, sure, _ in marks:
            if sure == certain:
                box = tuple(slice(a, a + b) for a, b in zip(origin, mark.shape, strict=True))
                whole[box] = np.maximum(whole[box], mark)
        scaled = replace(volume, voxels=np.rint(whole * 1000).astype(np.int16), sources=())
        return resample(crop(scaled, low.tolist(), high.tolist()), SPACING).voxels.astype(np.float32) / np.float32(1000)

    share, ignore = placed(True), placed(False) > 0.02
    nodules = [
        [*part.to_index(volume.to_patient((k, j, i))), size] for _, _, certain, (k, j, i, size) in marks if certain
    ]
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "hu.npy", part.voxels)
    np.save(folder / "lung.npy", lung_mask(part.voxels, SPACING))
    np.save(folder / "share.npy", np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8))
    np.save(folder / "ignore.npy", grown(ignore, 2.0) if ignore.any() else ignore)
    (folder / "nodules.json").write_text(json.dumps(nodules))


def from_lidc(study: Path, xml: Path, folder: Path) -> None:
    """A case from a LIDC-IDRI study: lesions of all four readers are nodules, other marks are ignored."""
    volume = load([pydicom.dcmread(file) for file in sorted(study.rglob("*.dcm"))])
    marks: list[Mark] = []
    for lesion in lesions(xml, volume):
        marks.append((lesion.origin, lesion.share, lesion.readers == 4, [*lesion.index, lesion.diameter_mm]))
    write_case(folder, volume, marks)


def body(
    label: npt.NDArray[np.bool_], spacing: npt.NDArray[np.float64], center: npt.NDArray[np.float64], volume_mm3: float
) -> npt.NDArray[np.float32]:
    """A labelled body with a soft rim, grown or shrunk until the shares add up to its true volume (mm3).

    The label is whole voxels; where it has none or far too many (a small nodule in thick slices), a ball at the true
    centre stands for the nodule.
    """
    radius = (3 * volume_mm3 / (4 * np.pi)) ** (1 / 3)
    voxel = float(np.prod(spacing))
    if 0.6 < label.sum() * voxel / volume_mm3 < 1.6:
        outside = ndimage.distance_transform_edt(~label, sampling=spacing)
        inside = ndimage.distance_transform_edt(label, sampling=spacing)
        level = outside - inside
    else:
        axes = np.indices(label.shape).astype(np.float32)
        offset = (axes - center[:, None, None, None]) * spacing[:, None, None, None]
        level = np.sqrt((offset**2).sum(axis=0)) - radius
    rim = max(1.2, 0.7 * float(spacing.max()))
    low, high = -radius, 2 * rim + radius
    for _ in range(25):
        middle = (low + high) / 2
        filled = float(np.clip(0.5 - (level - middle) / rim, 0, 1).sum()) * voxel
        low, high = (middle, high) if filled < volume_mm3 else (low, middle)
    soft: npt.NDArray[np.float32] = np.clip(0.5 - (level - low) / rim, 0, 1).astype(np.float32)
    return soft


def from_phantom(file: Path, folder: Path) -> None:
    """A case from a phantom's npz."""
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
        index = np.array(volume.to_index(nodule["center_mm"]))
        reach = nodule["diameter_mm"] * 1.5 / spacing + 3
        low = np.maximum(np.floor(index - reach).astype(int), 0)
        box = tuple(slice(a, b) for a, b in zip(low, np.ceil(index + reach).astype(int), strict=True))
        mark = body(label[box] == nodule["number"], spacing, index - low, nodule["volume_mm3"])
        marks.append((tuple(int(v) for v in low), mark, True, [*index, nodule["diameter_mm"]]))
    write_case(folder, volume, marks)


def main() -> None:
    """python -m training.cases lidc STUDY XML FOLDER | phantom NPZ FOLDER."""
    kind, *places = sys.argv[1:]
    paths = [Path(place) for place in places]
    {"lidc": from_lidc, "phantom": from_phantom}[kind](*paths)


if __name__ == "__main__":
    main()
