"""Bundles of other people's models: an ONNX file and a manifest, and no code of theirs.

Runs the task that the manifest names and puts into Findings what came out, as what it is: a box with its extents, a
peak without a size, a verdict on the series as a whole.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ai_adapters.manifest import Manifest
from ai_adapters.onnx_session import BrokenModel, OnnxSession, open_session
from ai_adapters.registry import Bundle
from ai_adapters.tasks.classification import ClassificationPlan, Verdict, chance_of, classify
from ai_adapters.tasks.detection import Candidate, DetectionPlan, Model, detect, rows_of, tile_boxes
from ai_adapters.tasks.tensors import Block, Grid, TensorPlan, tensor
from ai_adapters.volume import HIGHEST_HU, LOWEST_HU, Volume
from ai_adapters.watch import Watch
from dicom_sr import findings as report
from terminology.codings import Coding
from terminology.private_scheme import BOUNDING_BOX

#: (tracking identifier, tracking UID) of the lesion at a place (mm, LPS), the index-th of the analysis.
Identify = Callable[[report.Point, int], tuple[str, str]]

_MILLIMETRE = Coding(value="mm", scheme="UCUM", meaning="millimeter")
# PS3.16 CID 7470 "Linear Measurement" and Annex D.
_WIDTH = Coding(value="103355008", scheme="SCT", meaning="Width")
_DEPTH = Coding(value="131197000", scheme="SCT", meaning="Depth")
_HEIGHT = Coding(value="121207", scheme="DCM", meaning="Height")
#: ONNX Runtime's names of the types that a block can be given as.
_TYPES: dict[str, npt.DTypeLike] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a foreign bundle says of one series."""

    findings: tuple[report.Finding, ...]
    comments: tuple[str, ...]
    #: The execution provider that it ran on.
    provider: str


def is_foreign(manifest: Manifest) -> bool:
    """Whether a bundle's task is one that the manifest describes by itself."""
    return isinstance(manifest.plan, DetectionPlan | ClassificationPlan)


def model(
    bundle: Bundle, threads: int | None = None, providers: Sequence[str] = (), watch: Watch | None = None
) -> tuple[Model, str]:
    """The bundle's model as a function of one tensor, and the execution provider that it runs on.

    Raises BrokenModel, with the place and the cure, where the model's inputs or outputs are not the manifest's.
    """
    plan, watch = bundle.manifest.plan, watch or Watch()
    with watch.stage("opening the model"):
        model, content = next(iter(bundle.models.items()))
        session = open_session(content, threads, providers)
    names = _outputs(bundle.manifest, session)
    feed, kind = _input(session, plan.tensor if isinstance(plan, DetectionPlan | ClassificationPlan) else None)

    def read(block: Block) -> list[Block]:
        tensor = block.astype(kind, copy=False)
        watch.feed(model, tensor)
        with watch.stage("running the model"):
            return session.run(names, {feed: tensor})

    return read, session.providers[0]


def _outputs(manifest: Manifest, session: OnnxSession) -> list[str]:
    """The model's names of the task's outputs, in the plan's order."""
    there = [output.name for output in session.session.get_outputs()]
    plan = manifest.plan
    kinds = plan.kinds if isinstance(plan, DetectionPlan) else ("probability",)
    for kind in kinds:
        if manifest.outputs[kind] not in there:
            raise BrokenModel(
                f"manifest.json outputs.{kind}: the model has no output {manifest.outputs[kind]!r}; it has "
                f"{', '.join(there)}"
            )
    return [manifest.outputs[kind] for kind in kinds]


def _input(session: OnnxSession, plan: TensorPlan | None) -> tuple[str, npt.DTypeLike]:
    """The name and type of the model's only input, checked against the declared tensor."""
    inputs = session.session.get_inputs()
    if len(inputs) != 1 or plan is None:
        raise BrokenModel(f"models: the model has {len(inputs)} inputs; models of one input are run")
    name, shape = inputs[0].name, list(inputs[0].shape)
    if inputs[0].type not in _TYPES:
        raise BrokenModel(
            f"models: the input {name!r} is {inputs[0].type}; {', '.join(_TYPES)} are fed: export it with one of these"
        )
    if len(shape) != len(plan.layout):
        raise BrokenModel(
            f"manifest.json tensor.layout: {plan.layout} names {len(plan.layout)} axes, the model's input {name!r} has "
            f"{len(shape)}: {shape}"
        )
    for letter, declared in _declared(plan).items():
        fixed = shape[plan.layout.index(letter)]
        if isinstance(fixed, int) and fixed != declared:
            cure = _CURES[letter] if declared is not None else "tensor.size: give the sizes that the model fixes"
            raise BrokenModel(
                f"manifest.json {cure}: the model's input {name!r} is {shape} in {plan.layout}, so {letter} is "
                f"{fixed}, not {'free' if declared is None else declared}"
            )
    return name, _TYPES[inputs[0].type]


_CURES = {
    "N": "models",
    "C": "preprocessing.window_hu, tensor.repeat, tensor.neighbours",
    "D": "tensor.size",
    "H": "tensor.size",
    "W": "tensor.size",
}


def _declared(plan: TensorPlan) -> dict[str, int | None]:
    """What each axis will be; None where that differs from series to series."""
    letters = "HW" if plan.flat else "DHW"
    sizes: Sequence[int | None] = plan.size or (None,) * len(letters)
    return {"N": 1, "C": plan.channels, **dict(zip(letters, sizes, strict=True))}


def candidates(
    bundle: Bundle,
    volume: Volume,
    threads: int | None = None,
    providers: Sequence[str] = (),
    watch: Watch | None = None,
) -> tuple[list[Candidate], str]:
    """All that a foreign detector finds, by falling confidence and not cut by the threshold, and the provider."""
    plan = bundle.manifest.plan
    if not isinstance(plan, DetectionPlan):
        raise BrokenModel(f"manifest.json task: {bundle.manifest.task} finds no places")
    read, provider = model(bundle, threads, providers, watch)
    return detect(volume, read, plan), provider


def verdict(
    bundle: Bundle,
    volume: Volume,
    threads: int | None = None,
    providers: Sequence[str] = (),
    watch: Watch | None = None,
) -> tuple[Verdict, str]:
    """What a foreign classifier says of a series, and the provider."""
    plan = bundle.manifest.plan
    if not isinstance(plan, ClassificationPlan):
        raise BrokenModel(f"manifest.json task: {bundle.manifest.task} gives no verdict")
    read, provider = model(bundle, threads, providers, watch)
    return classify(volume, read, plan), provider


def check(bundle: Bundle, threads: int = 1) -> None:
    """Run the model on noise, on nothing and on everything bright; raises BrokenModel where an output does not fit.

    The message names the manifest's place and the cure.
    """
    plan = bundle.manifest.plan
    read, _ = model(bundle, threads)
    if isinstance(plan, ClassificationPlan):
        for fed in _samples(plan.tensor):
            chance_of(read(fed)[0], plan)
    elif isinstance(plan, DetectionPlan):
        for fed in _samples(plan.tensor):
            _check_detection(dict(zip(plan.kinds, read(fed), strict=True)), plan)


def _check_detection(outputs: dict[str, Block], plan: DetectionPlan) -> None:
    tile = _noise_tile(plan.tensor)
    tile_boxes(outputs, tile, plan)
    if "boxes" in outputs:
        _check_unit(rows_of(outputs, plan)[0], plan, max(tile))


def _samples(plan: TensorPlan) -> Iterator[Block]:
    tile = _noise_tile(plan)
    noise = np.random.default_rng(0).integers(-1000, 400, tile)
    for voxels in (noise, np.full(tile, LOWEST_HU), np.full(tile, HIGHEST_HU)):
        volume = Volume(voxels=voxels.astype(np.int16), affine=np.eye(4))
        yield tensor(Grid(volume=volume, tile=tile, lungs=None), (0, 0, 0), plan)


def _noise_tile(plan: TensorPlan) -> tuple[int, int, int]:
    """The declared size; about 64 where the model takes any."""
    if plan.size is not None:
        depth, rows, columns = (1, *plan.size) if plan.flat else plan.size
        return depth, rows, columns
    free = -(-64 // plan.multiple_of) * plan.multiple_of
    return (1 if plan.flat else free), free, free


def _check_unit(rows: Block, plan: DetectionPlan, longest: int) -> None:
    """Whether boxes are in the unit that the manifest names; raises BrokenModel."""
    if not np.isfinite(rows).all():
        raise BrokenModel("manifest.json outputs.boxes: the output has values that are no numbers")
    largest = float(np.abs(rows).max(initial=0.0))
    if plan.share and largest > 2:
        raise BrokenModel(
            f"manifest.json boxes.unit: values reach {largest:.3g}, where shares of the tile end at 1; say voxel"
        )
    if not plan.share and len(rows) and (largest <= 1 < longest / 8 or largest > 4 * longest):
        cure = "say share" if largest <= 1 else "are the columns in the order of boxes.columns, in voxels of the tile?"
        raise BrokenModel(
            f"manifest.json boxes.unit: no value is over {largest:.3g} in a tile of {longest} voxels; {cure}"
        )


def run(
    bundle: Bundle,
    volume: Volume,
    identify: Identify,
    threads: int | None = None,
    providers: Sequence[str] = (),
    watch: Watch | None = None,
) -> Result:
    """What is reported of a series; raises UnusableSeries and BrokenModel."""
    manifest = bundle.manifest
    if isinstance(manifest.plan, DetectionPlan):
        found, provider = candidates(bundle, volume, threads, providers, watch)
        sure = [each for each in found if each.confidence >= manifest.report]
        findings = tuple(_finding(manifest, volume, each, identify(each.center_mm, n)) for n, each in enumerate(sure))
        return Result(findings=findings, comments=(), provider=provider)
    said, provider = verdict(bundle, volume, threads, providers, watch)
    finding = manifest.codes["finding"]
    comment = f"{finding.meaning}: probability {said.chance:.3f}, threshold {manifest.report:g}"
    shown = (_of_series(manifest, volume, said, identify),) if said.chance >= manifest.report else ()
    return Result(findings=shown, comments=(comment,), provider=provider)


def _finding(
    manifest: Manifest, volume: Volume, candidate: Candidate, tracking: tuple[str, str]
) -> report.Finding:  # fmt: skip
    """A box with its extents and the rectangle that the model drew, or a place without a size."""
    x, y, z = (round(value, 2) for value in candidate.center_mm)
    region: report.Region | None = None
    measurements: tuple[report.Measurement, ...] = ()
    if candidate.box is not None and candidate.extents_mm is not None:
        region = _rectangle(candidate.box, volume)
        measurements = _extents(candidate.extents_mm)
    return report.Finding(
        tracking_id=tracking[0],
        tracking_uid=tracking[1],
        finding=manifest.codes["finding"],
        site=manifest.codes.get("site"),
        center_mm=(x, y, z),
        confidence=round(candidate.confidence, 4),
        region=region,
        measurements=measurements,
    )


def _extents(extents_mm: report.Point) -> tuple[report.Measurement, ...]:
    """Width across a row, height along a column, depth across slices, all of the box and not of a lesion."""
    along, down, across = extents_mm
    sizes = ((_WIDTH, across), (_HEIGHT, down), (_DEPTH, along))
    return tuple(
        report.Measurement(concept=concept, value=round(size, 1), unit=_MILLIMETRE, method=BOUNDING_BOX)
        for concept, size in sizes
    )


def _rectangle(box: tuple[report.Point, report.Point], volume: Volume) -> report.Region:
    """The box on its middle slice, clipped to the image; SCOORD has the first pixel's centre at (0.5, 0.5)."""
    low, high = box
    middle = min(max(round((low[0] + high[0]) / 2), 0), len(volume.voxels) - 1)
    _, rows, columns = volume.voxels.shape
    top, bottom = (round(min(max(corner[1] + 0.5, 0.0), rows), 3) for corner in box)
    left, right = (round(min(max(corner[2] + 0.5, 0.0), columns), 3) for corner in box)
    return _closed(volume.sources[middle], left, top, max(right, left + 1), max(bottom, top + 1))


def _closed(image: report.ImageReference, left: float, top: float, right: float, bottom: float) -> report.Region:
    points = ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
    return report.Region(image=image, graphic_type="POLYLINE", points=points)


def _of_series(manifest: Manifest, volume: Volume, said: Verdict, identify: Identify) -> report.Finding:
    """A finding on the series: drawn as the whole image that was judged, without a place of its own."""
    rows, columns = volume.voxels.shape[1:]
    middle = volume.to_patient((said.slice_index, (rows - 1) / 2, (columns - 1) / 2))
    tracking_id, tracking_uid = identify(middle, 0)
    return report.Finding(
        tracking_id=tracking_id,
        tracking_uid=tracking_uid,
        finding=manifest.codes["finding"],
        site=manifest.codes.get("site"),
        confidence=round(said.chance, 4),
        region=_closed(volume.sources[said.slice_index], 0.0, 0.0, float(columns), float(rows)),
    )
