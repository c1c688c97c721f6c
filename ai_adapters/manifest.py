"""What a bundle says of itself: model identity, the series it reads, how, and what its outputs mean.

``manifest.json`` beside the ONNX files, checked against ``manifest_schema.json``; a key that the schema does not know
is refused with its place, since a misspelt threshold that is silently left out is worse than none.
"""

import difflib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema

from ai_adapters.accuracy import Accuracy, Error
from ai_adapters.growth import Repeatability
from ai_adapters.tasks.nodule_detection import Plan
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
    plan: Plan
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
    low, high = content["preprocessing"]["window_hu"]
    if low >= high:
        raise BrokenManifest("manifest.json preprocessing.window_hu: the first value must be below the second")
    if content["patches"]["tile"] <= 2 * content["patches"]["margin"]:
        raise BrokenManifest("manifest.json patches.tile: must be more than twice patches.margin")
    return _manifest(content, hashlib.sha256(text).hexdigest())


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


def _manifest(content: dict[str, Any], digest: str) -> Manifest:
    rules, patches = content["input"], content["patches"]
    return Manifest(
        **{key: content[key] for key in ("name", "title", "version", "creator", "device_uid", "task", "outputs")},
        models={name: Model(**model) for name, model in content["models"].items()},
        input=InputRules(
            modality=tuple(rules["modality"]),
            body_part=tuple(part.upper() for part in rules.get("body_part", ())),
            image_type_excludes=tuple(rules["image_type_excludes"]),
            minimum_slices=rules["minimum_slices"],
            maximum_slices=rules.get("maximum_slices", 2000),
            maximum_slice_spacing_mm=float(rules["maximum_slice_spacing_mm"]),
            orientation=rules["orientation"],
        ),
        plan=Plan(
            spacing_mm=float(content["preprocessing"]["spacing_mm"]),
            window=(float(content["preprocessing"]["window_hu"][0]), float(content["preprocessing"]["window_hu"][1])),
            candidate=float(content["thresholds"]["candidate"]),
            **patches,
        ),
        report=float(content["thresholds"]["report"]),
        known=float(content["thresholds"].get("known", content["thresholds"]["report"])),
        repeatability=_repeatability(content.get("repeatability")),
        accuracy=_accuracy(content.get("accuracy")),
        codes={name: Coding(**code) for name, code in content["codes"].items()},
        training_data=tuple(content["training_data"]),
        metrics=tuple(Metric(**metric) for metric in content["metrics"]),
        intended_use=content["intended_use"],
        licence=content["licence"],
        digest=digest,
    )
