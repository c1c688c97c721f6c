"""The manifest: what is right is read, what is wrong is refused with its place and cure."""

import json
from typing import Any

import pytest

from ai_adapters.manifest import BrokenManifest, parse
from ai_adapters.registry import BUILT_IN

CONTENT: dict[str, Any] = json.loads((BUILT_IN / "nodule_detection" / "manifest.json").read_text(encoding="utf-8"))


def changed(path: str, value: Any) -> bytes:
    """The built-in manifest with one value changed (or added); None takes it out."""
    content = json.loads(json.dumps(CONTENT))
    *parents, last = path.split(".")
    place = content
    for parent in parents:
        place = place[parent]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return json.dumps(content).encode()


def test_the_shipped_manifest_is_read_and_says_what_it_is() -> None:
    manifest = parse(json.dumps(CONTENT).encode())
    assert manifest.task == "nodule_detection"
    assert manifest.codes["finding"].value == "27925004"
    assert "Not a medical device" in manifest.intended_use
    assert 0 < manifest.plan.candidate <= manifest.report < 1
    assert manifest.device_uid.startswith("2.25.")


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("thresholds.raport", 0.5, "thresholds: unknown key 'raport'; did you mean 'report'"),
        ("licence", None, "'licence' is a required property"),
        ("thresholds.report", 1.5, "thresholds.report"),
        ("models.detector.file", "../../etc/passwd", "models.detector.file"),
        ("models.detector.sha256", "00", "models.detector.sha256"),
        ("task", "everything", "task"),
        ("device_uid", "2.25.007", "device_uid"),
        ("preprocessing.window_hu", [400, -1000], "window_hu"),
        ("patches.tile", 50, "patches.tile"),
        ("reduction.size", 4, "reduction.size"),
        ("reduction.least_small", 2, "reduction.least_small"),
        ("reduction.small", None, "reduction.*small"),
        ("outputs.small", None, "outputs.*small"),
        ("models.small", None, "outputs"),
        ("models.reduction", None, "models.*reduction"),
        ("outputs.chance", None, "outputs.*chance"),
        ("reduction", None, "models"),
    ],
)
def test_what_is_wrong_is_named(path: str, value: Any, says: str) -> None:
    with pytest.raises(BrokenManifest, match=says.replace("(", r"\(")):
        parse(changed(path, value))


def test_a_tile_that_is_all_margin_is_refused() -> None:
    content = json.loads(changed("patches.tile", 32))
    content["patches"]["margin"] = 16
    with pytest.raises(BrokenManifest, match="more than twice"):
        parse(json.dumps(content).encode())


def test_a_bundle_of_the_detector_alone_is_whole() -> None:
    content = json.loads(changed("reduction", None))
    content["models"] = {"detector": content["models"]["detector"]}
    content["outputs"] = {"heat": "heat", "share": "share"}
    assert parse(json.dumps(content).encode()).plan.reduction is None


def test_no_json_is_refused() -> None:
    with pytest.raises(BrokenManifest, match="no JSON"):
        parse(b"{")
