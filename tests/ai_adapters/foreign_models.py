"""Small detectors and classifiers as other people might bring them: a bright ball on a dark ground, by a filter.

Values are as a window of -1000 to 400 HU scaled to 0..1 leaves them: lung 0.11, a nodule 0.74.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.ai_adapters.onnx_writer import Graph

#: The filter's answer to a nodule of 8 to 16 mm is about 0.5, to a vessel 0.1, to a wall less than nought.
_STEEP, _MIDDLE = 25.0, 0.3


def ball(spacing: Sequence[float], inner_mm: float = 4.0, outer_mm: float = 12.0) -> npt.NDArray[np.float32]:
    """Mean of a ball less twice the mean of the shell round it, for a convolution."""
    reach = [int(np.ceil(outer_mm / step)) for step in spacing]
    places = np.meshgrid(*(np.arange(-n, n + 1) * s for n, s in zip(reach, spacing, strict=True)), indexing="ij")
    away = np.sqrt(sum(place**2 for place in places))
    inside, shell = away <= inner_mm, (away > 8) & (away <= outer_mm)
    return (inside / inside.sum() - 2 * shell / shell.sum()).astype(np.float32)


def _answer(graph: Graph, image: str, kernel: npt.NDArray[np.float32], strides: Sequence[int]) -> str:
    """The logit at each place: the filter with borders as wide as it needs."""
    pads = [size // 2 for size in kernel.shape[2:]]
    filtered = graph.add("Conv", [image, graph.constant(kernel)], strides=strides, pads=[*pads, *pads])
    above = graph.add("Sub", [filtered, graph.constant(_MIDDLE)])
    return graph.add("Mul", [above, graph.constant(_STEEP)])


def heat_of_blocks(spacing: float = 2.0) -> bytes:
    """3-D, any size: chances at half the resolution."""
    graph = Graph(shape=(1, 1, "d", "h", "w"))
    logit = _answer(graph, "image", ball([spacing] * 3)[None, None], (2, 2, 2))
    graph.add("Sigmoid", [logit], "heat")
    return graph.model(heat=(1, 1, "a", "b", "c"))


def boxes_of_blocks(size: tuple[int, int, int] = (32, 64, 64), spacing: float = 2.0, edge_mm: float = 12.0) -> bytes:
    """3-D, one size: an anchor of 12 mm on every second voxel, z1 y1 x1 z2 y2 x2, and its chance."""
    graph = Graph(shape=(1, 1, *size))
    logit = _answer(graph, "image", ball([spacing] * 3)[None, None], (2, 2, 2))
    count = int(np.prod([edge // 2 for edge in size]))
    flat = graph.add("Reshape", [logit, graph.constant([1, count], "int64")])
    graph.add("Sigmoid", [flat], "scores")
    centers = np.stack(np.meshgrid(*(np.arange(0, edge, 2) + 0.5 for edge in size), indexing="ij"), -1).reshape(-1, 3)
    half = edge_mm / spacing / 2
    graph.add("Identity", [graph.constant(np.hstack([centers - half, centers + half])[None])], "boxes")
    return graph.model(boxes=(1, count, 6), scores=(1, count))


def boxes_of_slices(size: int = 64, spacing: float = 1.6, edge_mm: float = 12.0) -> bytes:
    """2-D, one size, channels last, three slices: cx cy w h in parts of the tile, logits of two classes."""
    graph = Graph(shape=(1, size, size, 3))
    image = graph.add("Transpose", ["image"], perm=(0, 3, 1, 2))
    kernel = np.broadcast_to(ball([spacing] * 2), (1, 3, *ball([spacing] * 2).shape)) / 3
    count = (size // 2) ** 2
    logit = graph.add(
        "Reshape", [_answer(graph, image, np.ascontiguousarray(kernel), (2, 2)), graph.constant([count, 1], "int64")]
    )
    graph.add("Concat", [graph.add("Neg", [logit]), logit], "logits", axis=1)
    rows, columns = np.indices((size // 2, size // 2)).reshape(2, -1) * 2 + 0.5
    edge = np.full(count, edge_mm / spacing)
    graph.add("Identity", [graph.constant(np.stack([columns, rows, edge, edge], 1) / size)], "anchors")
    return graph.model(anchors=(count, 4), logits=(count, 2))


def chance_of_block(size: tuple[int, int, int] = (64, 120, 120), spacing: float = 2.0) -> bytes:
    """3-D, one size: the chance that there is such a ball anywhere."""
    graph = Graph(shape=(1, 1, *size))
    logit = _answer(graph, "image", ball([spacing] * 3)[None, None], (2, 2, 2))
    most = graph.add("GlobalMaxPool", [logit])
    graph.add("Sigmoid", [graph.add("Flatten", [most], axis=1)], "probability")
    return graph.model(probability=(1, 1))


def chance_of_slices(size: int = 96, spacing: float = 2.5) -> bytes:
    """2-D, one size, three equal channels: two logits."""
    graph = Graph(shape=(1, 3, size, size))
    kernel = np.broadcast_to(ball([spacing] * 2), (1, 3, *ball([spacing] * 2).shape)) / 3
    logit = graph.add(
        "Flatten", [graph.add("GlobalMaxPool", [_answer(graph, "image", np.array(kernel), (1, 1))])], axis=1
    )
    graph.add("Concat", [graph.add("Neg", [logit]), logit], "logits", axis=1)
    return graph.model(logits=(1, 2))


def bundle(folder: Path, manifest: dict[str, Any], model: bytes) -> Path:
    """A bundle's folder: the manifest with the model's digest in it, and the model."""
    folder.mkdir(parents=True)
    content = json.loads(json.dumps(manifest))
    (named,) = content["models"].values()
    named["sha256"] = hashlib.sha256(model).hexdigest()
    (folder / named["file"]).write_bytes(model)
    (folder / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    return folder
