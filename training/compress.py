"""Halves an ONNX file: weights are stored as 16-bit floats and widened when the model is loaded.

Computation stays in 32 bit: onnxruntime folds the widening once. python -m training.compress IN.onnx OUT.onnx
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper


def compress(source: Path, target: Path) -> None:
    """Store each large weight in 16 bits behind a Cast."""
    model = onnx.load(source)
    casts = []
    for weight in list(model.graph.initializer):
        values = numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < 64:
            continue
        name = weight.name
        model.graph.initializer.remove(weight)
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    target.write_bytes(model.SerializeToString())


if __name__ == "__main__":
    compress(Path(sys.argv[1]), Path(sys.argv[2]))
