"""Tells with somebody else's classifier whether a series shows something: a chance, by slices or by blocks.

What the model reads and how its output is meant is in the manifest. The chance of the series is the highest of its
tiles'; where the model reads single slices, the surest slice is where the finding is drawn.
"""

from dataclasses import dataclass
from typing import Any

from ai_adapters.onnx_session import BrokenModel
from ai_adapters.tasks.detection import Model, chances_of
from ai_adapters.tasks.tensors import Block, TensorPlan, corners, grid_of, tensor, tensor_plan
from ai_adapters.volume import Volume


@dataclass(frozen=True, kw_only=True)
class ClassificationPlan:
    """What the manifest declares of a classifier."""

    tensor: TensorPlan
    #: none, sigmoid or softmax: what makes chances of the output.
    activation: str
    #: Which class of several is meant, counted from 0.
    wanted: int


def classification_plan(content: dict[str, Any]) -> ClassificationPlan:
    """The plan in a manifest."""
    return ClassificationPlan(
        tensor=tensor_plan(content),
        activation=content["outputs"].get("activation", "none"),
        wanted=int(content["outputs"].get("class", 0)),
    )


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the classifier came to."""

    #: 0..1.
    chance: float
    #: Slice of the source: the surest one, or the middle one where the model reads blocks.
    slice_index: int


def classify(volume: Volume, model: Model, plan: ClassificationPlan) -> Verdict:
    """The series' chance; raises BrokenModel where the output does not fit."""
    grid = grid_of(volume, plan.tensor)
    best, where = -1.0, (0, 0, 0)
    for corner in corners(grid, plan.tensor):
        (values,) = model(tensor(grid, corner, plan.tensor))
        chance = chance_of(values, plan)
        if chance > best:
            best, where = chance, corner
    slices = len(volume.voxels)
    surest = round(where[0] * grid.volume.spacing[0] / volume.spacing[0])
    return Verdict(chance=max(best, 0.0), slice_index=min(surest, slices - 1) if plan.tensor.flat else slices // 2)


def chance_of(values: Block, plan: ClassificationPlan) -> float:
    """The chance in the output of one tile: (1, classes), (1,) or a single number."""
    if values.ndim > 2 or (values.ndim == 2 and len(values) != 1) or values.size == 0:
        raise BrokenModel(
            f"manifest.json outputs.probability: the output has shape {values.shape}; expected (1, classes)"
        )
    return float(chances_of(values.reshape(1, -1), plan.activation, plan.wanted, "outputs.probability")[0])
