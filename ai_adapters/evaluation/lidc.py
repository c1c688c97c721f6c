"""Reads a LIDC-IDRI reading (XML) into lesions that readers agree on.

Schema of the LIDC XML: readingSession (one reader) > unblindedReadNodule > roi (one slice: imageSOP_UID, inclusion,
edgeMap of x = column, y = row). The edge lies just outside the nodule. A nodule of one edge point is below 3 mm.
Ids differ from reader to reader; lesions of several readers are the same one when their masks touch. ``texture`` is 1
(non-solid) to 5 (solid), 3 part-solid (LIDC-IDRI, Armato 2011, https://doi.org/10.1118/1.3528204).
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from ai_adapters.measure import sphere_diameter
from ai_adapters.volume import Volume

_NAMESPACE = {"l": "http://www.nih.gov"}


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """One lesion and how many readers marked it with an outline."""

    #: Readers who outlined it (0 where all only put a point: below 3 mm).
    readers: int
    #: Fractional (slice, row, column) of the consensus.
    index: tuple[float, float, float]
    #: Patient coordinates, mm.
    center_mm: tuple[float, float, float]
    #: Of the sphere as large as the consensus (voxels that at least half of its readers marked).
    diameter_mm: float
    #: Corner of the box of ``share`` in the volume.
    origin: tuple[int, int, int]
    #: Share of the readers who marked each voxel.
    share: npt.NDArray[np.float32]
    #: By the median of the readers' textures; empty where none gave one.
    density: str
    #: Each reader's own voxels, in the box of ``share``.
    marked: tuple[npt.NDArray[np.bool_], ...]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a file says of itself."""

    study_instance_uid: str
    series_instance_uid: str
    readers: int


@dataclass(frozen=True, kw_only=True)
class _Outline:
    """One reader's lesion: its voxels, and whether it is more than a point."""

    reader: int
    voxels: frozenset[tuple[int, int, int]]
    large: bool
    texture: int | None


class BrokenReading(Exception):
    """A file that is no LIDC-IDRI reading; the message says why."""


def reading(xml: Path) -> Reading:
    """Whose reading a file is; raises BrokenReading where it is none."""
    root = _root(xml)
    return Reading(
        study_instance_uid=root.findtext("l:ResponseHeader/l:StudyInstanceUID", "", _NAMESPACE).strip(),
        series_instance_uid=root.findtext("l:ResponseHeader/l:SeriesInstanceUid", "", _NAMESPACE).strip(),
        readers=len(root.findall("l:readingSession", _NAMESPACE)),
    )


def _root(xml: Path) -> ElementTree.Element:
    try:
        root = ElementTree.parse(xml).getroot()
    except ElementTree.ParseError as error:
        raise BrokenReading(f"{xml.name} is no XML: {error}") from error
    if root.tag != f"{{{_NAMESPACE['l']}}}LidcReadMessage":
        raise BrokenReading(f"{xml.name} is no LIDC-IDRI reading: its root is {root.tag[:80]}")
    return root


def lesions(xml: Path, volume: Volume) -> list[Lesion]:
    """All lesions of the reading, largest first, on the grid of ``volume``."""
    slices = {source.sop_instance_uid: index for index, source in enumerate(volume.sources)}
    shape = (volume.voxels.shape[1], volume.voxels.shape[2])
    outlines = []
    for reader, session in enumerate(_root(xml).findall("l:readingSession", _NAMESPACE)):
        for nodule in session.findall("l:unblindedReadNodule", _NAMESPACE):
            outline = _outline(reader, nodule, slices, shape)
            if outline.voxels:
                outlines.append(outline)
    found = [_lesion(group, volume) for group in _groups(outlines)]
    return sorted(found, key=lambda lesion: -lesion.diameter_mm)


def _outline(reader: int, nodule: ElementTree.Element, slices: dict[str, int], shape: tuple[int, int]) -> _Outline:
    """The voxels inside a reader's contours, holes (inclusion FALSE) taken out."""
    inside: set[tuple[int, int, int]] = set()
    holes: set[tuple[int, int, int]] = set()
    longest = 0
    for roi in nodule.findall("l:roi", _NAMESPACE):
        where = slices.get(roi.findtext("l:imageSOP_UID", "", _NAMESPACE).strip())
        points = [
            (int(edge.findtext("l:xCoord", "0", _NAMESPACE)), int(edge.findtext("l:yCoord", "0", _NAMESPACE)))
            for edge in roi.findall("l:edgeMap", _NAMESPACE)
        ]
        if where is None or not points:
            continue
        longest = max(longest, len(points))
        included = roi.findtext("l:inclusion", "TRUE", _NAMESPACE).strip().upper() == "TRUE"
        (inside if included else holes).update((where, row, column) for row, column in _filled(points, shape))
    texture = nodule.findtext("l:characteristics/l:texture", "", _NAMESPACE).strip()
    return _Outline(
        reader=reader,
        voxels=frozenset(inside - holes),
        large=longest > 1,
        texture=int(texture) if texture.isdecimal() and 1 <= int(texture) <= 5 else None,
    )


def _density(outlines: list[_Outline]) -> str:
    textures = [outline.texture for outline in outlines if outline.texture is not None]
    if not textures:
        return ""
    middle = median(textures)
    return "ground-glass" if middle < 2.5 else "part-solid" if middle < 3.5 else "solid"


def _filled(points: list[tuple[int, int]], shape: tuple[int, int]) -> set[tuple[int, int]]:
    """The pixels (row, column) inside a closed edge, the edge itself left out unless it is all there is."""
    image = Image.new("1", (shape[1], shape[0]))
    draw = ImageDraw.Draw(image)
    if len(points) > 2:
        draw.polygon(points, fill=1, outline=1)
    rows, columns = np.nonzero(np.asarray(image))
    pixels = set(zip(rows.tolist(), columns.tolist(), strict=True))
    edge = {(y, x) for x, y in points}
    return (pixels - edge) or edge


def _groups(outlines: list[_Outline]) -> list[list[_Outline]]:
    """Outlines of different readers whose voxels touch, joined."""
    groups: list[list[_Outline]] = []
    for outline in sorted(outlines, key=lambda each: -len(each.voxels)):
        near = {
            (k + a, j + b, i + c)
            for k, j, i in outline.voxels
            for a in (-1, 0, 1)
            for b in (-1, 0, 1)
            for c in (-1, 0, 1)
        }
        for group in groups:
            others = all(other.reader != outline.reader for other in group)
            if others and any(near & other.voxels for other in group):
                group.append(outline)
                break
        else:
            groups.append([outline])
    return groups


def _lesion(group: list[_Outline], volume: Volume) -> Lesion:
    """The consensus of one group of outlines."""
    large = [outline for outline in group if outline.large]
    used = large or group
    readers = len({outline.reader for outline in used})
    voxels = np.array(sorted(set().union(*(outline.voxels for outline in used))))
    low, high = voxels.min(axis=0), voxels.max(axis=0) + 1
    marked = []
    for reader in sorted({outline.reader for outline in used}):
        own = np.array(sorted(set().union(*(o.voxels for o in used if o.reader == reader)))) - low
        mask = np.zeros(tuple(high - low), dtype=np.bool_)
        mask[tuple(own.T)] = True
        marked.append(mask)
    share = (np.sum(marked, axis=0) / readers).astype(np.float32)
    agreed = np.argwhere(share >= 0.5 - 1e-6)
    index = tuple(float(v) for v in agreed.mean(axis=0) + low)
    volume_mm3 = len(agreed) * float(np.prod(volume.spacing))
    return Lesion(
        readers=len({outline.reader for outline in large}),
        index=(index[0], index[1], index[2]),
        center_mm=volume.to_patient(index),
        diameter_mm=sphere_diameter(volume_mm3),
        origin=(int(low[0]), int(low[1]), int(low[2])),
        share=share,
        density=_density(used),
        marked=tuple(marked),
    )
