"""What a bundle says of itself: model identity, the series it reads, how, and what its outputs mean.

``manifest.json`` beside the ONNX files, checked against ``manifest_schema.json``; a key that the schema does not know
is refused with its place, since a misspelt threshold that is silently left out is worse than none.
"""

import difflib
import hashlib
import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema

from ai_adapters.accuracy import Accuracy, Error
from ai_adapters.growth import Repeatability
from ai_adapters.tasks.boxes import missing_axis
from ai_adapters.tasks.classification import ClassificationPlan, classification_plan
from ai_adapters.tasks.crops import Cube
from ai_adapters.tasks.detection import DetectionPlan, detection_plan
from ai_adapters.tasks.nodule_detection import Plan
from ai_adapters.tasks.reduction import Reduction
from ai_adapters.tasks.tensors import TensorPlan
from terminology.codings import Coding

_SCHEMA: dict[str, Any] = json.loads(Path(__file__).with_name("manifest_schema.json").read_text(encoding="utf-8"))


class BrokenManifest(Exception):
    """A manifest that cannot be used; the message names the place and the cure."""


@dataclass(frozen=True, kw_only=True)
class InputRules:
    """Which series of a study the adapter reads."""

    modality: tuple[str, ...]
    #: Body Part Examined, upper case; an image that names none is not refused for it.
    body_part: tuple[str, ...]
    #: Values of Image Type that exclude an image, e.g. LOCALIZER.
    image_type_excludes: tuple[str, ...]
    minimum_slices: int
    maximum_slices: int
    maximum_slice_spacing_mm: float
    #: Only "axial" so far.
    orientation: str


@dataclass(frozen=True, kw_only=True)
class Model:
    """One ONNX file of the bundle."""

    file: str
    #: Hex.
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One published figure of the model and the data that it was measured on."""

    data: str
    name: str
    value: float | str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The manifest of one bundle."""

    name: str
    title: str
    version: str
    creator: str
    #: Changes whenever the model does (IHE AIR 6.5.3.1).
    device_uid: str
    task: str
    models: dict[str, Model]
    input: InputRules
    plan: Plan | DetectionPlan | ClassificationPlan
    #: The model's own names of what the task expects.
    outputs: dict[str, str]
    #: Confidence from which a finding is reported.
    report: float
    #: Confidence from which a lesion that is known from another study is reported.
    known: float
    #: How far two measurements of one lesion lie apart; None where nobody measured that: then growth isn't told.
    repeatability: Repeatability | None
    #: How far a measurement lies from the truth; None where nobody measured that: then no uncertainty is given.
    accuracy: Accuracy | None
    codes: dict[str, Coding]
    training_data: tuple[str, ...]
    metrics: tuple[Metric, ...]
    intended_use: str
    licence: str
    #: SHA-256 of the manifest's bytes, hex.
    digest: str

    @property
    def model_digest(self) -> str:
        """One SHA-256 (hex) for all models: of their names and digests in order."""
        text = "\n".join(f"{name} {model.sha256}" for name, model in sorted(self.models.items()))
        return hashlib.sha256(text.encode()).hexdigest()


def parse(text: bytes) -> Manifest:
    """The manifest in ``text``; raises BrokenManifest with the place and the cure."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise BrokenManifest(f"manifest.json is no JSON: {error}") from error
    found = jsonschema.Draft202012Validator(_SCHEMA).iter_errors(content)
    problems = sorted(found, key=lambda problem: [str(part) for part in problem.path])
    if problems:
        raise BrokenManifest("; ".join(_cure(problem) for problem in problems[:5]))
    manifest = _manifest(content, hashlib.sha256(text).hexdigest())
    if (problem := _contradiction(manifest.plan)) is not None:
        raise BrokenManifest(f"manifest.json {problem}")
    return manifest


def _contradiction(plan: Plan | DetectionPlan | ClassificationPlan) -> str | None:
    """What no schema can see: two values that don't go together; None where all is well."""
    windows = (plan.window,) if isinstance(plan, Plan) else plan.tensor.windows
    if any(low >= high for low, high in windows):
        return "preprocessing.window_hu: the first value must be below the second"
    if isinstance(plan, Plan):
        return None if plan.tile > 2 * plan.margin else "patches.tile: must be more than twice patches.margin"
    if isinstance(plan, DetectionPlan) and "boxes" in plan.kinds:
        axis = missing_axis(plan.columns, plan.tensor.flat)
        if axis is not None:
            extent = {"x": "w", "y": "h", "z": "d"}[axis]
            return f"boxes.columns: nothing tells {axis}; name {axis}1 and {axis}2, or c{axis} and {extent}"
    return _tensor_contradiction(plan.tensor)


def _tensor_contradiction(plan: TensorPlan) -> str | None:
    axes = "H, W" if plan.flat else "D, H, W"
    if plan.size is not None and len(plan.size) != (2 if plan.flat else 3):
        return f"tensor.size: {len(plan.size)} numbers; the layout {plan.layout} needs {axes}"
    if plan.whole and plan.size is None:
        return f'tensor.fit: "whole" scales to tensor.size; give it as {axes}'
    if plan.neighbours > 1 and not plan.flat:
        return f"tensor.neighbours: the layout {plan.layout} reads blocks; take D out of it to read single slices"
    return None


def _cure(problem: jsonschema.ValidationError) -> str:
    """The place of a schema error, and what to do."""
    place = ".".join(str(part) for part in problem.path) or "the top level"
    content: object = problem.instance
    if problem.validator == "additionalProperties" and isinstance(problem.schema, dict) and isinstance(content, dict):
        known = list(problem.schema.get("properties", {}))
        unknown = [str(key) for key in content if key not in known]
        near = [match for key in unknown for match in difflib.get_close_matches(key, known, 1)]
        hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
        return f"manifest.json {place}: unknown key {unknown[0]!r}{hint}"
    if problem.validator == "enum" and list(problem.schema_path)[-2:-1] == ["propertyNames"]:
        return f"manifest.json {place}: {content!r} does not go with this task or the other keys there"
    return f"manifest.json {place}: {problem.message[:200]}"


def _repeatability(content: dict[str, Any] | None) -> Repeatability | None:
    if content is None:
        return None
    errors = sorted((float(one["up_to_mm"]), float(one["log_volume_error"])) for one in content["errors"])
    return Repeatability(errors=tuple(errors), noise_percent=float(content["noise_percent"]))


def _accuracy(content: dict[str, Any] | None) -> Accuracy | None:
    if content is None:
        return None
    errors = [Error(**{"density": "", **one}) for one in content["errors"]]
    return Accuracy(errors=tuple(sorted(errors, key=lambda error: error.up_to_mm)))


#: What a manifest of somebody else's model need not say.
_SILENT: dict[str, Any] = {
    "modality": ["CT"],
    "image_type_excludes": ["LOCALIZER", "SECONDARY", "SCOUT"],
    "minimum_slices": 10,
    "maximum_slices": 2000,
    "maximum_slice_spacing_mm": 5.0,
    "orientation": "axial",
}
_NOT_STATED = "not stated"


def _input(rules: dict[str, Any]) -> InputRules:
    rules = _SILENT | rules
    return InputRules(
        modality=tuple(rules["modality"]),
        body_part=tuple(part.upper() for part in rules.get("body_part", ())),
        image_type_excludes=tuple(rules["image_type_excludes"]),
        minimum_slices=rules["minimum_slices"],
        maximum_slices=rules["maximum_slices"],
        maximum_slice_spacing_mm=float(rules["maximum_slice_spacing_mm"]),
        orientation=rules["orientation"],
    )


def _plan(content: dict[str, Any]) -> Plan | DetectionPlan | ClassificationPlan:
    if content["task"] == "detection":
        return detection_plan(content)
    if content["task"] == "classification":
        return classification_plan(content)
    before = content["preprocessing"]
    return Plan(
        spacing_mm=float(before["spacing_mm"]),
        window=(float(before["window_hu"][0]), float(before["window_hu"][1])),
        candidate=float(content["thresholds"]["candidate"]),
        reduction=_reduction(content.get("reduction")),
        **content["patches"],
    )


def _reduction(content: dict[str, Any] | None) -> Reduction | None:
    if content is None:
        return None
    return Reduction(
        cube=Cube(size=content["size"], spacings_mm=tuple(float(one) for one in content["spacings_mm"])),
        peaks=content["peaks"],
        least_heat=float(content["least_heat"]),
        small=content.get("small", 0),
        least_small=float(content.get("least_small", 0)),
        apart_mm=float(content["apart_mm"]),
        batch=content["batch"],
    )


def _device_uid(content: dict[str, Any]) -> str:
    """The manifest's own, or one of the 2.25 form (PS3.5 B.2) that follows from name, version and models."""
    if "device_uid" in content:
        return str(content["device_uid"])
    digests = sorted(model["sha256"] for model in content["models"].values())
    named = " ".join(("device", content["name"], content["version"], *digests))
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, named).int}"


def _manifest(content: dict[str, Any], digest: str) -> Manifest:
    thresholds = content.get("thresholds", {})
    report = float(thresholds.get("report", 0.5))
    return Manifest(
        **{key: content[key] for key in ("name", "version", "creator", "task")},
        outputs={kind: name for kind, name in content["outputs"].items() if kind not in ("activation", "class")},
        title=content.get("title", content["name"]),
        device_uid=_device_uid(content),
        models={name: Model(**model) for name, model in content["models"].items()},
        input=_input(content.get("input", {})),
        plan=_plan(content),
        report=report,
        known=float(thresholds.get("known", report)),
        repeatability=_repeatability(content.get("repeatability")),
        accuracy=_accuracy(content.get("accuracy")),
        codes={name: Coding(**code) for name, code in content["codes"].items()},
        training_data=tuple(content.get("training_data", [_NOT_STATED])),
        metrics=tuple(Metric(**metric) for metric in content.get("metrics", ())),
        intended_use=content.get("intended_use", _NOT_STATED),
        licence=content.get("licence", _NOT_STATED),
        digest=digest,
    )
