"""Runs a bundle on a volume: pixels in, Findings out. Writes nothing; knows neither SR nor FHIR."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from ai_adapters import foreign
from ai_adapters.accuracy import Accuracy, Error
from ai_adapters.density import Density, density
from ai_adapters.description import described
from ai_adapters.lesion import examine
from ai_adapters.lobes import NAMED_FROM, Lungs, lobe, lungs, side
from ai_adapters.manifest import Manifest
from ai_adapters.margin import margin
from ai_adapters.matching import Place, match
from ai_adapters.measure import Axes, Region, axes, sphere_diameter, to_source
from ai_adapters.networks import networks
from ai_adapters.onnx_session import BrokenModel
from ai_adapters.registry import Bundle
from ai_adapters.tasks.nodule_detection import Nodule, Plan, Reading, detect
from ai_adapters.volume import Volume
from ai_adapters.watch import Watch
from dicom_sr import findings as report
from terminology.codings import Coding
from terminology.private_scheme import SOLID_PART_DIAMETER, SOLID_PART_VOLUME

Identify = foreign.Identify

_MILLIMETRE = Coding(value="mm", scheme="UCUM", meaning="millimeter")
_CUBIC_MILLIMETRE = Coding(value="mm3", scheme="UCUM", meaning="cubic millimeter")
# PS3.16 CID 7470 "Linear Measurement", CID 7472 "Volume Measurement".
_LONG_AXIS = Coding(value="103339001", scheme="SCT", meaning="Long Axis")
_SHORT_AXIS = Coding(value="103340004", scheme="SCT", meaning="Short Axis")
_DIAMETER = Coding(value="81827009", scheme="SCT", meaning="Diameter")
_VOLUME = Coding(value="118565006", scheme="SCT", meaning="Volume")

#: How the report says by which means a lobe was named.
LOBE_RULE = f"by position within the lung, from a confidence of {NAMED_FROM:g} on"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A nodule with its measurements on the source grid."""

    center_mm: report.Point
    confidence: float
    volume_mm3: float
    #: Of the sphere of that volume.
    diameter_mm: float
    region: Region
    axes: Axes
    #: None where nobody looked: of candidates that are never reported.
    density: Density | None = None
    #: Of the solid part of a part-solid nodule.
    solid_axes: Axes | None = None
    qualities: tuple[report.Quality, ...] = ()


def nodule_plan(manifest: Manifest) -> Plan:
    """How the network reads a volume; raises BrokenModel for a bundle of another task."""
    if not isinstance(manifest.plan, Plan):
        raise BrokenModel(f"{manifest.name} does not measure nodules: its task is {manifest.task}")
    return manifest.plan


def read_nodules(
    bundle: Bundle,
    volume: Volume,
    threads: int | None = None,
    providers: Sequence[str] = (),
    watch: Watch | None = None,
) -> tuple[list[Measured], Reading, str]:
    """All candidates, measured, by falling confidence and not yet cut by the threshold; the reading; the provider."""
    watch = watch or Watch()
    with watch.stage("opening the model"):
        opened = networks(bundle, threads, providers, watch)
    reading = detect(volume, opened.read, nodule_plan(bundle.manifest), watch, opened.judge, opened.pointer)
    with watch.stage("measuring"):
        return candidates(reading, volume, bundle.manifest), reading, opened.provider


def candidates(reading: Reading, volume: Volume, manifest: Manifest) -> list[Measured]:
    """What a reading found, measured; only what may be reported is examined closely."""
    return [_measured(nodule, reading, volume, manifest) for nodule in reading.nodules]


def run(
    bundle: Bundle,
    volume: Volume,
    *,
    identify: Identify,
    timestamp: datetime,
    key: str,
    procedure: Coding | None = None,
    threads: int | None = None,
    providers: Sequence[str] = (),
    known: Sequence[Place] = (),
    watch: Watch | None = None,
) -> report.Findings:
    """The Findings of one analysis.

    ``known`` are lesions of another study, in this one's space: near them less confidence is enough.
    ``identify`` gives a lesion its tracking identifier and UID, ``timestamp`` (timezone-aware) and ``key`` are the
    analysis' own. Raises UnusableSeries where no lungs are seen.
    """
    manifest = bundle.manifest
    if foreign.is_foreign(manifest):
        return _of_foreign(bundle, volume, identify, timestamp, key, procedure, threads, providers, watch)
    nodules, reading, provider = read_nodules(bundle, volume, threads, providers, watch)
    reported = _reported(nodules, manifest, known)
    within = lungs(reading.lungs, reading.grid)
    return report.Findings(
        key=key,
        study_instance_uid=volume.study_instance_uid,
        frame_of_reference_uid=volume.frame_of_reference_uid,
        sources=volume.sources,
        findings=tuple(
            finding(bundle, volume, nodule, within, identify(nodule.center_mm, index))
            for index, nodule in enumerate(reported)
        ),
        timestamp=timestamp,
        algorithm=_algorithm(manifest, provider, ("lobe", LOBE_RULE)),
        procedure=procedure,
    )


def _of_foreign(
    bundle: Bundle, volume: Volume, identify: Identify, timestamp: datetime, key: str, procedure: Coding | None,
    threads: int | None, providers: Sequence[str], watch: Watch | None,
) -> report.Findings:  # fmt: skip
    """The Findings of a model that its manifest describes."""
    result = foreign.run(bundle, volume, identify, threads, providers, watch)
    return report.Findings(
        key=key,
        study_instance_uid=volume.study_instance_uid,
        frame_of_reference_uid=volume.frame_of_reference_uid,
        sources=volume.sources,
        findings=result.findings,
        timestamp=timestamp,
        algorithm=_algorithm(bundle.manifest, result.provider),
        procedure=procedure,
        comments=result.comments,
    )


def _algorithm(manifest: Manifest, provider: str, *more: tuple[str, str]) -> report.Algorithm:
    return report.Algorithm(
        name=manifest.title,
        version=manifest.version,
        manufacturer=manifest.creator,
        device_uid=manifest.device_uid,
        digest=manifest.model_digest,
        parameters=(("threshold", f"{manifest.report:g}"), ("execution provider", provider), *more),
    )


def _reported(nodules: list[Measured], manifest: Manifest, known: Sequence[Place]) -> list[Measured]:
    """What is reported: what is sure, and what lies where a lesion was that nothing sure stands for."""
    sure = [nodule for nodule in nodules if nodule.confidence >= manifest.report]
    found = set(match(known, [_place(nodule) for nodule in sure]).values())
    missing = [place for index, place in enumerate(known) if index not in found]
    faint = [nodule for nodule in nodules if manifest.known <= nodule.confidence < manifest.report]
    return [*sure, *(faint[index] for index in sorted(match(missing, [_place(nodule) for nodule in faint])))]


def _place(nodule: Measured) -> Place:
    return Place(center_mm=nodule.center_mm, diameter_mm=nodule.diameter_mm)


def _measured(nodule: Nodule, reading: Reading, volume: Volume, manifest: Manifest) -> Measured:
    """Carry a nodule to the source grid and measure it; what may be reported by its own attenuation."""
    region = to_source(nodule.share, nodule.origin, reading.grid, volume)
    center = reading.grid.to_patient(nodule.index)
    if nodule.confidence >= min(manifest.known, manifest.report):
        return measured(region, volume, center, nodule.confidence, nodule.densities)
    volume_mm3 = float(nodule.share.sum()) * float(np.prod(reading.grid.spacing))
    return Measured(
        center_mm=center,
        confidence=nodule.confidence,
        volume_mm3=volume_mm3,
        diameter_mm=sphere_diameter(volume_mm3),
        region=region,
        axes=axes(region, volume),
    )


def measured(
    region: Region, volume: Volume, center_mm: report.Point, confidence: float, densities: Sequence[float] = ()
) -> Measured:
    """The nodule that the network's region (on the source grid) stands for, measured and described.

    ``densities`` are the chances that a network gives solid, part-solid and ground glass.
    """
    lesion = examine(region, volume)
    kind = density(lesion, densities)
    return Measured(
        center_mm=center_mm,
        confidence=confidence,
        volume_mm3=lesion.volume_mm3,
        diameter_mm=sphere_diameter(lesion.volume_mm3),
        region=lesion.region,
        axes=axes(lesion.region, volume),
        density=kind,
        solid_axes=axes(kind.solid, volume) if kind.solid is not None else None,
        qualities=tuple(described(lesion, kind, margin(lesion, kind, volume))),
    )


def finding(
    bundle: Bundle, volume: Volume, nodule: Measured, within: Lungs, tracking: tuple[str, str]
) -> report.Finding:
    """One nodule as a report holds it."""
    codes, lines = bundle.manifest.codes, nodule.axes
    image = volume.sources[lines.slice_index]
    return report.Finding(
        tracking_id=tracking[0],
        tracking_uid=tracking[1],
        finding=codes["finding"],
        site=_site(nodule.center_mm, within) or codes["site"],
        laterality=side(nodule.center_mm, within),
        center_mm=(round(nodule.center_mm[0], 2), round(nodule.center_mm[1], 2), round(nodule.center_mm[2], 2)),
        confidence=round(nodule.confidence, 4),
        region=_line(image, lines.outline),
        measurements=tuple(_measurements(nodule, image, bundle.manifest.accuracy)),
        qualities=nodule.qualities,
        mask=_mask(nodule.region),
    )


def _line(image: report.ImageReference, points: tuple[tuple[float, float], ...]) -> report.Region:
    # A SCOORD holds single precision; a thousandth of a pixel comes back equal.
    rounded = tuple((round(column, 3), round(row, 3)) for column, row in points)
    return report.Region(image=image, graphic_type="POLYLINE", points=rounded)


def _site(center_mm: report.Point, within: Lungs) -> Coding | None:
    """The lobe, where it is sure enough to be named."""
    found = lobe(center_mm, within)
    return found[0] if found is not None and found[1] >= NAMED_FROM else None


def _measurements(
    nodule: Measured, image: report.ImageReference, accuracy: Accuracy | None
) -> Iterator[report.Measurement]:
    """Axes, mean diameter and volume, and those of a part-solid nodule's solid part."""
    lines, kind = nodule.axes, nodule.density
    error = accuracy.of(kind.kind.value, nodule.diameter_mm) if accuracy and kind else None
    yield _length(_LONG_AXIS, lines.long_mm, error, _line(image, lines.long))
    yield _length(_SHORT_AXIS, lines.short_mm, error, _line(image, lines.short))
    yield _length(_DIAMETER, (lines.long_mm + lines.short_mm) / 2, error)
    yield _volume(_VOLUME, nodule.volume_mm3, error)
    if nodule.solid_axes is not None and kind is not None and kind.solid_mm3 is not None:
        mean = (nodule.solid_axes.long_mm + nodule.solid_axes.short_mm) / 2
        error = accuracy.of(SOLID_PART_DIAMETER.value, mean) if accuracy else None
        yield _length(SOLID_PART_DIAMETER, mean, error)
        yield _volume(SOLID_PART_VOLUME, kind.solid_mm3, error)


def _length(
    concept: Coding, value: float, error: Error | None, region: report.Region | None = None
) -> report.Measurement:
    uncertainty = error.length(value) if error else None
    return report.Measurement(
        concept=concept, value=round(value, 1), unit=_MILLIMETRE, region=region, uncertainty=uncertainty
    )


def _volume(concept: Coding, value: float, error: Error | None) -> report.Measurement:
    uncertainty = error.volume(value) if error else None
    return report.Measurement(concept=concept, value=round(value, 0), unit=_CUBIC_MILLIMETRE, uncertainty=uncertainty)


def _mask(region: Region) -> report.Mask:
    """The region's voxels, packed."""
    mask = region.mask
    filled = np.argwhere(mask)
    low, high = filled.min(axis=0), filled.max(axis=0) + 1
    part: npt.NDArray[np.bool_] = mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    corner = [int(a + b) for a, b in zip(low, region.origin, strict=True)]
    return report.Mask(
        origin=(corner[0], corner[1], corner[2]),
        shape=(part.shape[0], part.shape[1], part.shape[2]),
        bits=zlib.compress(np.packbits(part).tobytes()),
    )
