"""Bundles: found, checked, and let in only after they ran in a child with limits."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from ai_adapters.manifest import BrokenManifest
from ai_adapters.onnx_session import BrokenModel, open_session
from ai_adapters.registry import BUILT_IN, RefusedBundle, UnknownBundle, add, read_bundle, registry

OUTPUTS = {name: name for name in ("heat", "share", "chance", "offset", "density", "small")}


def foreign(folder: Path, model: bytes | None = None, **changes: object) -> Path:
    """A copy of the built-in bundle under another name, with another model perhaps."""
    shutil.copytree(BUILT_IN / "nodule_detection", folder)
    content = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    content |= {"name": "foreign_nodules", **changes}
    if model is not None:
        (folder / "detector.onnx").write_bytes(model)
        content["models"]["detector"]["sha256"] = hashlib.sha256(model).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_the_built_in_bundle_is_there() -> None:
    bundles = registry().bundles()
    assert [bundle.manifest.name for bundle in bundles] == ["nodule_detection"]
    with pytest.raises(UnknownBundle, match="there are: nodule_detection"):
        registry().get("nodules")


def test_a_changed_model_is_noticed(tmp_path: Path) -> None:
    folder = foreign(tmp_path / "bundle")
    model = bytearray((folder / "detector.onnx").read_bytes())
    model[len(model) // 2] ^= 1
    (folder / "detector.onnx").write_bytes(bytes(model))
    with pytest.raises(BrokenManifest, match=r"models\.detector\.sha256"):
        read_bundle(folder)


def test_a_good_bundle_comes_in_once(tmp_path: Path) -> None:
    folder, into = foreign(tmp_path / "bundle"), tmp_path / "adapters"
    (folder / "surprise.py").write_text("raise SystemExit", encoding="utf-8")
    add(folder, into)
    copied = sorted(path.name for path in (into / "foreign_nodules").iterdir())
    assert copied == ["detector.onnx", "manifest.json", "reduction.onnx", "small.onnx"]
    assert registry(into).get("foreign_nodules").manifest.name == "foreign_nodules"
    with pytest.raises(RefusedBundle, match="there already"):
        add(folder, into)
    assert [path.name for path in into.iterdir()] == ["foreign_nodules"]


def test_a_bundle_cannot_take_a_built_in_name(tmp_path: Path) -> None:
    with pytest.raises(RefusedBundle, match="another name"):
        add(foreign(tmp_path / "bundle", name="nodule_detection"), tmp_path / "adapters")


@pytest.mark.parametrize(
    ("changes", "model", "says"),
    [
        ({}, b"\x00garbage", "does not load"),
        ({"outputs": {**OUTPUTS, "share": "mask"}}, None, "does not run"),
        ({"outputs": {**OUTPUTS, "heat": "share", "share": "heat"}}, None, "outputs have shapes"),
        ({"outputs": {**OUTPUTS, "chance": "offset", "offset": "chance"}}, None, "outputs are not chance"),
    ],
)
def test_a_bundle_that_does_not_run_stays_out(tmp_path: Path, changes: dict, model: bytes | None, says: str) -> None:
    with pytest.raises(RefusedBundle, match=says):
        add(foreign(tmp_path / "bundle", model, **changes), tmp_path / "adapters")
    assert list((tmp_path / "adapters").iterdir()) == []


def test_a_bundle_that_does_not_end_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(RefusedBundle, match="within"):
        add(foreign(tmp_path / "bundle"), tmp_path / "adapters", seconds=0.05)
    assert list((tmp_path / "adapters").iterdir()) == []


def test_a_model_through_a_link_is_refused(tmp_path: Path) -> None:
    folder = foreign(tmp_path / "bundle")
    (folder / "detector.onnx").rename(tmp_path / "outside.onnx")
    (folder / "detector.onnx").symlink_to(tmp_path / "outside.onnx")
    with pytest.raises(BrokenManifest, match="not a plain file"):
        add(folder, tmp_path / "adapters")


def test_a_session_says_what_it_runs_on() -> None:
    bundle = registry().get("nodule_detection")
    session = open_session(bundle.models["detector"], threads=1)
    wanted = [
        name
        for name in ("CUDAExecutionProvider", "CPUExecutionProvider")
        if name in onnxruntime.get_available_providers()
    ]
    assert session.providers[0] == wanted[0]
    with pytest.raises(BrokenModel, match="does not load"):
        open_session(b"")


def test_io_binding_gives_what_a_plain_run_gives() -> None:
    session = open_session(registry().get("nodule_detection").models["detector"], threads=1)
    block = np.random.default_rng(1).uniform(-1, 1, (1, 1, 16, 32, 32)).astype(np.float32)
    plain, bound = (
        session.run(["heat", "share"], {"image": block}),
        session.run_bound(["heat", "share"], {"image": block}),
    )
    for one, other in zip(plain, bound, strict=True):
        assert np.array_equal(one, other)
