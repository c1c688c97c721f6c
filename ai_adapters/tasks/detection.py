"""Finds lesions with somebody else's detector: boxes with scores, or a heat map, of single slices or of blocks.

What the model reads and how its outputs are meant is in the manifest (TensorPlan, DetectionPlan). A box becomes a
finding with a centre and its extents; a peak of a heat map one with a centre and no size. No outline is made up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from ai_adapters.onnx_session import BrokenModel
from ai_adapters.tasks.boxes import Box, decoded, joined, moved, thinned
from ai_adapters.tasks.tensors import Block, Grid, TensorPlan, central, corners, grid_of, tensor, tensor_plan, unordered
from ai_adapters.volume import Volume
from dicom_sr.findings import Point

#: The model as a function of one tensor: the outputs that were asked for, in their order.
Model = Callable[[Block], list[Block]]


@dataclass(frozen=True, kw_only=True)
class DetectionPlan:
    """What the manifest declares of a detector."""

    tensor: TensorPlan
    #: boxes and scores, or heat: what the outputs are, in the order in which the model is asked for them.
    kinds: tuple[str, ...]
    #: What the columns of the boxes are.
    columns: tuple[str, ...]
    #: Whether boxes are in parts of the tile instead of voxels.
    share: bool
    #: none, sigmoid or softmax: what makes chances of the scores or the heat.
    activation: str
    #: Which class of several is meant, counted from 0.
    wanted: int
    #: Chance from which a candidate is kept.
    candidate: float
    most_candidates: int
    #: Two peaks nearer than this are one, mm.
    apart_mm: float
    #: Two boxes that overlap (intersection over union) by more are one.
    same: float


def detection_plan(content: dict[str, Any]) -> DetectionPlan:
    """The plan in a manifest."""
    boxes, patches, thresholds = (content.get(name, {}) for name in ("boxes", "patches", "thresholds"))
    read = tensor_plan(content)
    usual = ["x1", "y1", "x2", "y2"] if read.flat else ["z1", "y1", "x1", "z2", "y2", "x2"]
    return DetectionPlan(
        tensor=read,
        kinds=tuple(kind for kind in ("boxes", "scores", "labels", "heat") if kind in content["outputs"]),
        columns=tuple(boxes.get("columns", usual)),
        share=boxes.get("unit", "voxel") == "share",
        activation=content["outputs"].get("activation", "none"),
        wanted=int(content["outputs"].get("class", 0)),
        candidate=float(thresholds.get("candidate", 0.05)),
        most_candidates=int(patches.get("most_candidates", 50)),
        apart_mm=float(patches.get("apart_mm", 5.0)),
        same=float(boxes.get("same", 0.2)),
    )


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Something found, in the patient."""

    center_mm: Point
    #: 0..1.
    confidence: float
    #: Extents of the box along (slice, row, column), mm; None where the model gives no box.
    extents_mm: Point | None
    #: (low, high) borders on the source's grid, voxel centres at whole numbers; None where there is no box.
    box: tuple[Point, Point] | None


def detect(volume: Volume, model: Model, plan: DetectionPlan) -> list[Candidate]:
    """All candidates by falling confidence; raises UnusableSeries, and BrokenModel where an output does not fit."""
    grid = grid_of(volume, plan.tensor)
    found: list[Box] = []
    for corner in corners(grid, plan.tensor):
        outputs = dict(zip(plan.kinds, model(tensor(grid, corner, plan.tensor)), strict=True))
        boxes = [moved(box, corner) for box in tile_boxes(outputs, grid.tile, plan)]
        found += [box for box in boxes if central(box.center, corner, grid, plan.tensor.overlap)]
    if plan.tensor.flat:
        found = joined(thinned_slices(found, plan), plan.same) if "boxes" in plan.kinds else found
    inside = [box for box in found if _within(box, grid) and grid.counts(box.center)]
    kept = thinned(inside, plan.same, plan.most_candidates) if "boxes" in plan.kinds else _apart(inside, grid, plan)
    return [_candidate(box, grid.volume, volume, sized="boxes" in plan.kinds) for box in kept]


def _within(box: Box, grid: Grid) -> bool:
    """Whether the centre lies in the volume, not in what a tile was filled up with."""
    return bool(np.all(box.center >= -0.5) and np.all(box.center <= np.asarray(grid.volume.voxels.shape) - 0.5))


def thinned_slices(boxes: Sequence[Box], plan: DetectionPlan) -> list[Box]:
    """Each slice's boxes without those that a surer one of the same slice covers."""
    slices = sorted({float(box.low[0]) for box in boxes})
    return [
        kept
        for place in slices
        for kept in thinned([box for box in boxes if box.low[0] == place], plan.same, plan.most_candidates)
    ]


def tile_boxes(outputs: dict[str, Block], tile: tuple[int, int, int], plan: DetectionPlan) -> list[Box]:
    """The candidates of one tile, in its voxels; a peak of heat is a box without extent."""
    if "heat" in outputs:
        return _peaks(heat_of(outputs["heat"], plan), tile, plan)
    rows, scores = rows_of(outputs, plan)
    kept = scores >= plan.candidate
    return decoded(
        rows[kept], scores[kept], plan.columns, tile, share=plan.share, head_first=plan.tensor.head_first
    )  # fmt: skip


def rows_of(outputs: dict[str, Block], plan: DetectionPlan) -> tuple[Block, Block]:
    """Boxes (n, columns) and the chance of each; raises BrokenModel with the place where shapes don't fit."""
    rows, scores = outputs["boxes"], outputs["scores"]
    rows = rows[0] if rows.ndim == 3 and len(rows) == 1 else rows
    if rows.ndim != 2 or rows.shape[1] != len(plan.columns):
        raise BrokenModel(
            f"manifest.json outputs.boxes: the output has shape {outputs['boxes'].shape}; expected (n, "
            f"{len(plan.columns)}) for the columns {', '.join(plan.columns)} (boxes.columns)"
        )
    scores = scores[0] if scores.ndim > 1 and len(scores) == 1 and len(rows) != 1 else scores
    scores = scores.reshape(-1, 1) if scores.size == len(rows) else scores
    if len(rows) == 0:
        return rows, np.zeros(0, dtype=np.float32)
    if scores.ndim != 2 or len(scores) != len(rows):
        raise BrokenModel(f"manifest.json outputs.scores: {outputs['scores'].shape} for {len(rows)} boxes")
    if "labels" not in outputs:
        return rows, chances_of(scores, plan.activation, plan.wanted, "outputs.scores").astype(np.float32)
    labels = outputs["labels"].reshape(-1)
    if len(labels) != len(rows):
        raise BrokenModel(f"manifest.json outputs.labels: {outputs['labels'].shape} for {len(rows)} boxes")
    # Where labels say the class, each box has one score.
    chances = chances_of(scores, plan.activation, 0, "outputs.scores")
    return rows, np.where(labels == plan.wanted, chances, 0).astype(np.float32)


def chances_of(values: Block, activation: str, wanted: int, place: str) -> Block:
    """Chances (n) of the wanted column of (n, classes); raises BrokenModel where they are not within 0..1."""
    if not np.isfinite(values).all():
        raise BrokenModel(f"manifest.json {place}: the output has values that are no numbers")
    if activation == "softmax":
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        values = powers / powers.sum(axis=1, keepdims=True)
    elif activation == "sigmoid":
        values = (1 / (1 + np.exp(-np.clip(values, -80, 80)))).astype(np.float32)
    if wanted >= values.shape[1]:
        raise BrokenModel(f"manifest.json outputs.class: {wanted}, but the output has {values.shape[1]} classes")
    column: Block = values[:, wanted]
    if column.size and (column.min() < -1e-4 or column.max() > 1 + 1e-4):
        raise BrokenModel(
            f"manifest.json {place}: values from {column.min():.3g} to {column.max():.3g}, where chances lie within "
            '0..1; is it a logit? then "activation": "sigmoid" or "softmax" under outputs'
        )
    return np.clip(column, 0, 1)


def heat_of(values: Block, plan: DetectionPlan) -> Block:
    """The heat as (slices, rows, columns), slices from feet to head; raises BrokenModel where it does not fit."""
    if values.ndim != len(plan.tensor.layout):
        raise BrokenModel(
            f"manifest.json outputs.heat: the output has shape {values.shape}; expected the axes {plan.tensor.layout}"
        )
    ordered = unordered(values, plan.tensor.layout)[0]
    flat = np.moveaxis(ordered, 0, -1).reshape(-1, ordered.shape[0])
    heat = chances_of(flat, plan.activation, plan.wanted, "outputs.heat").reshape(ordered.shape[1:])
    heat = heat[None] if plan.tensor.flat else heat
    return heat[::-1] if plan.tensor.head_first and not plan.tensor.flat else heat


def _peaks(heat: Block, tile: tuple[int, int, int], plan: DetectionPlan) -> list[Box]:
    """The local maxima; a heat map may be coarser than the tile, its voxels as many times larger."""
    ratio = np.asarray(tile) / np.asarray(heat.shape)
    top = (heat == ndimage.maximum_filter(heat, size=3)) & (heat >= plan.candidate)
    return [
        Box(confidence=float(heat[tuple(place)]), low=point, high=point)
        for place in np.argwhere(top)
        for point in [(place + 0.5) * ratio - 0.5]
    ]


def _apart(boxes: Sequence[Box], grid: Grid, plan: DetectionPlan) -> list[Box]:
    """The highest peaks, none nearer to a higher one than ``apart_mm``."""
    spacing = np.asarray(grid.volume.spacing)
    kept: list[Box] = []
    for box in sorted(boxes, key=lambda each: -each.confidence):
        if all(np.linalg.norm((box.center - other.center) * spacing) >= plan.apart_mm for other in kept):
            kept.append(box)
        if len(kept) == plan.most_candidates:
            break
    return kept


def _candidate(box: Box, grid: Volume, source: Volume, *, sized: bool) -> Candidate:
    extents = (box.high - box.low) * np.asarray(grid.spacing)
    low, high = (source.to_index(grid.to_patient([float(v) for v in corner])) for corner in (box.low, box.high))
    return Candidate(
        center_mm=grid.to_patient([float(value) for value in box.center]),
        confidence=box.confidence,
        extents_mm=(float(extents[0]), float(extents[1]), float(extents[2])) if sized else None,
        box=(low, high) if sized else None,
    )
