"""Writes small ONNX files, so that tests have models of every kind without a package that makes them.

Protocol buffers by hand, field numbers from onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

_IR_VERSION, _OPSET = 8, 17
_KINDS = {"float32": 1, "float16": 10, "float64": 11, "int64": 7, "int32": 6}


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _number(tag: int, value: int) -> bytes:
    return _varint(tag << 3) + _varint(value)


def _bytes(tag: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(tag << 3 | 2) + _varint(len(data)) + data


def _tensor(name: str, values: npt.NDArray[np.generic]) -> bytes:
    dims = b"".join(_number(1, count) for count in values.shape)
    return dims + _number(2, _KINDS[values.dtype.name]) + _bytes(8, name) + _bytes(9, values.tobytes())


def _value(name: str, kind: str, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(
        _bytes(1, _number(1, size) if isinstance(size, int) else _bytes(2, size)) for size in shape
    )  # fmt: skip
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, _KINDS[kind]) + _bytes(2, dims)))


def _attribute(name: str, value: int | Sequence[int]) -> bytes:
    if isinstance(value, int):
        return _bytes(1, name) + _number(3, value) + _number(20, 2)
    return _bytes(1, name) + b"".join(_number(8, each) for each in value) + _number(20, 7)


@dataclass(kw_only=True)
class Graph:
    """A model that is being written, node by node."""

    #: Shape of its only input ``image``; letters are free axes.
    shape: Sequence[int | str]
    kind: str = "float32"
    _nodes: list[bytes] = field(default_factory=list)
    _constants: list[bytes] = field(default_factory=list)

    def constant(self, values: npt.ArrayLike, kind: str = "float32") -> str:
        name = f"constant{len(self._constants)}"
        self._constants.append(_tensor(name, np.asarray(values, dtype=kind)))
        return name

    def add(self, op: str, inputs: Iterable[str], output: str = "", **attributes: int | Sequence[int]) -> str:
        output = output or f"value{len(self._nodes)}"
        parts = [_bytes(1, name) for name in inputs] + [_bytes(2, output), _bytes(4, op)]
        parts += [_bytes(5, _attribute(name, value)) for name, value in attributes.items()]
        self._nodes.append(b"".join(parts))
        return output

    def model(self, **outputs: Sequence[int | str]) -> bytes:
        """The file; outputs by name with their shapes."""
        graph = b"".join(
            [
                *(_bytes(1, node) for node in self._nodes),
                _bytes(2, "test"),
                *(_bytes(5, constant) for constant in self._constants),
                _bytes(11, _value("image", self.kind, self.shape)),
                *(_bytes(12, _value(name, "float32", shape)) for name, shape in outputs.items()),
            ]
        )
        return _number(1, _IR_VERSION) + _bytes(7, graph) + _bytes(8, _bytes(1, "") + _number(2, _OPSET))
