"""A real ONNX bundle of a few hundred bytes that sees dense balls, written as protobuf by hand.

Quick enough that a test can run the whole way again and again; https://onnx.ai/onnx/repo-docs/IR.html names the fields.
"""

import hashlib
import json
import struct
from pathlib import Path

from ai_adapters.registry import BUILT_IN, Registry


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _node(operator: str, inputs: list[str], output: str, attributes: bytes = b"") -> bytes:
    named = b"".join(_field(1, name) for name in inputs)
    return _field(1, named + _field(2, output) + _field(4, operator) + attributes)


def _integers(name: str, values: list[int]) -> bytes:
    return _field(5, _field(1, name) + b"".join(_field(8, value) for value in values) + _field(20, 7))


def _constant(name: str, value: float) -> bytes:
    return _field(5, _field(2, 1) + _field(8, name) + _field(9, struct.pack("<f", value)))


def _tensor(number: int, name: str, axes: str) -> bytes:
    shape = b"".join(_field(1, _field(2, f"{name}_{axis}")) for axis in axes)
    return _field(number, _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, shape))))


def model() -> bytes:
    """The ONNX model: heat where a blurred block is denser than its surroundings, share where the block is dense."""
    near = _integers("kernel_shape", [5] * 3) + _integers("strides", [2] * 3) + _integers("pads", [2] * 6)
    far = _integers("kernel_shape", [9] * 3) + _integers("strides", [1] * 3) + _integers("pads", [4] * 6)
    nodes = [
        _node("AveragePool", ["voxels"], "blurred", near),
        _node("AveragePool", ["blurred"], "surroundings", far),
        _node("Sub", ["blurred", "surroundings"], "contrast"),
        _node("Mul", ["contrast", "steep"], "steeper"),
        _node("Add", ["steeper", "shift"], "shifted"),
        _node("Sigmoid", ["shifted"], "heat"),
        _node("Mul", ["voxels", "sharp"], "sharper"),
        _node("Add", ["sharper", "middle"], "centred"),
        _node("Sigmoid", ["centred"], "share"),
    ]
    constants = [_constant("steep", 12), _constant("shift", -9), _constant("sharp", 10), _constant("middle", 1.5)]
    ends = [_tensor(11, "voxels", "bczyx"), _tensor(12, "heat", "bczyx"), _tensor(12, "share", "bczyx")]
    graph = b"".join([*nodes, _field(2, "blobs"), *constants, *ends])
    return _field(1, 8) + _field(7, graph) + _field(8, _field(2, 17))


def tiny_registry(folder: Path) -> Registry:
    """A registry with that bundle under the shipped one's name."""
    name = "nodule_detection"
    manifest = json.loads((BUILT_IN / name / "manifest.json").read_text(encoding="utf-8"))
    content = model()
    manifest["models"] = {"detector": {"file": "detector.onnx", "sha256": hashlib.sha256(content).hexdigest()}}
    manifest["outputs"] = {"heat": "heat", "share": "share"}
    manifest.pop("reduction", None)
    manifest["thresholds"] |= {"report": 0.5, "known": 0.25}
    manifest["repeatability"] = {"noise_percent": 25, "errors": [{"up_to_mm": 30, "log_volume_error": 0.1}]}
    (folder / name).mkdir(parents=True)
    (folder / name / "detector.onnx").write_bytes(content)
    (folder / name / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return Registry(folders=(folder,))
