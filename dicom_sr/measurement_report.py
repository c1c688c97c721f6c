"""TID 1500 Measurement Report from a Findings: PS3.16 Annex A, with TIDs 1204, 1002, 1600, 1501, 300, 320, 4019.

Two choices are made for viewers that read only a part of this. The first number of a group carries one graphic, a
closed rectangle on a displayed slice, and nothing else, so that it is drawn and can be taken over as an editable
measurement; and the Tracking Identifier starts with the prefix by which OHIF knows such a rectangle. A group without
any graphic would stop OHIF's viewer altogether, so none is written. The finding's centre hangs below the Finding item
as a 3-D point, where it disturbs no one who reads the numbers.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from pydicom import Dataset
from pydicom.sr.codedict import codes as standard

from dicom_sr import codes
from dicom_sr.content_item import (
    CONTAINS,
    HAS_ACQ_CONTEXT,
    HAS_CONCEPT_MOD,
    HAS_OBS_CONTEXT,
    HAS_PROPERTIES,
    INFERRED_FROM,
    code,
    container,
    date,
    image,
    number,
    person_name,
    scoord,
    scoord3d,
    text,
    uid_reference,
)
from dicom_sr.errors import UnwritableFindings
from dicom_sr.findings import Algorithm, Finding, Findings, Gone, ImageReference, Measurement, Quality, Region
from dicom_sr.geometry import bounding_rectangle, nearest, plane
from terminology.codings import Coding
from terminology.private_scheme import CHANGE

#: How OHIF (cornerstone3D adapters) knows a graphic that it can edit; the lesion's own identifier follows.
RECTANGLE_PREFIX = "Cornerstone3DTools@^0.1.0:RectangleROI:"
#: Algorithm Parameters (111002) of ours that are no setting of the algorithm.
ANALYSIS_KEY, MODEL_DIGEST = "analysis", "sha256"


def tracking_text(finding: Finding) -> str:
    """The Tracking Identifier as it stands in SR and SEG: the same for a lesion at every time point."""
    return RECTANGLE_PREFIX + finding.tracking_id


def content(findings: Findings, sources: Mapping[str, Dataset]) -> Dataset:
    """The root container of the report."""
    children = [code(HAS_CONCEPT_MOD, codes.LANGUAGE, codes.ENGLISH)]
    children += _observers(findings)
    children.append(code(HAS_CONCEPT_MOD, codes.PROCEDURE_REPORTED, findings.procedure or codes.IMAGING_PROCEDURE))
    if findings.sources:
        children.append(_image_library(findings, sources))
    groups = [_group(findings, finding, index, sources) for index, finding in enumerate(findings.findings)]
    children.append(container(CONTAINS, codes.IMAGING_MEASUREMENTS, groups))
    said = [*_summary(findings), *(text(CONTAINS, codes.COMMENT, comment) for comment in findings.comments)]
    if said := [*said, *map(_gone, findings.gone)]:
        children.append(container(CONTAINS, codes.QUALITATIVE_EVALUATIONS, said))
    return container("", codes.IMAGING_MEASUREMENT_REPORT, children, template="1500")


def _summary(findings: Findings) -> Iterator[Dataset]:
    """What the program came to, where no group names it."""
    if all(finding.by_person for finding in findings.findings) and (findings.algorithm or not findings.findings):
        summary = codes.WITH_FINDINGS if findings.findings else codes.NO_FINDINGS
        yield code(CONTAINS, codes.CAD_SUMMARY, summary, list(_algorithm(findings)))


def _gone(lesion: Gone) -> Dataset:
    """That a lesion of the prior study is there no more, by the names it had."""
    names = [
        text(HAS_OBS_CONTEXT, codes.TRACKING_IDENTIFIER, RECTANGLE_PREFIX + lesion.tracking_id),
        uid_reference(HAS_OBS_CONTEXT, codes.TRACKING_UID, lesion.tracking_uid),
        code(HAS_CONCEPT_MOD, codes.FINDING, lesion.finding),
    ]
    if lesion.site is not None:
        side = [code(HAS_CONCEPT_MOD, codes.LATERALITY, lesion.laterality)] if lesion.laterality else []
        names.append(code(HAS_CONCEPT_MOD, codes.FINDING_SITE, lesion.site, side))
    return code(CONTAINS, CHANGE, codes.ABSENT, names)


def _observers(findings: Findings) -> Iterator[Dataset]:
    """TID 1002: the program (TID 1004), the person (TID 1003), or both."""
    algorithm = findings.algorithm
    if algorithm is None and findings.person is None:
        raise UnwritableFindings("neither an algorithm nor a person: a report needs an author", place="algorithm")
    if findings.person is not None:
        yield code(HAS_OBS_CONTEXT, codes.OBSERVER_TYPE, codes.PERSON)
        yield person_name(HAS_OBS_CONTEXT, codes.PERSON_NAME, findings.person)
    if algorithm is not None:
        yield code(HAS_OBS_CONTEXT, codes.OBSERVER_TYPE, codes.DEVICE)
        yield uid_reference(HAS_OBS_CONTEXT, codes.DEVICE_UID, algorithm.device_uid)
        yield text(HAS_OBS_CONTEXT, codes.DEVICE_NAME, algorithm.name)
        yield text(HAS_OBS_CONTEXT, codes.DEVICE_MANUFACTURER, algorithm.manufacturer)
        yield text(HAS_OBS_CONTEXT, codes.DEVICE_MODEL, f"{algorithm.name} {algorithm.version}")


def _algorithm(findings: Findings) -> Iterator[Dataset]:
    """TID 4019, with the analysis key and the model's digest among the parameters."""
    algorithm = findings.algorithm
    if algorithm is None:
        return
    yield text(HAS_CONCEPT_MOD, codes.ALGORITHM_NAME, algorithm.name)
    yield text(HAS_CONCEPT_MOD, codes.ALGORITHM_VERSION, algorithm.version)
    yield text(HAS_CONCEPT_MOD, codes.ALGORITHM_MANUFACTURER, algorithm.manufacturer)
    for name, value in _parameters(findings.key, algorithm):
        if not name or "=" in name:
            raise UnwritableFindings("a parameter's name is empty or has '='", place="algorithm.parameters")
        yield text(HAS_CONCEPT_MOD, codes.ALGORITHM_PARAMETERS, f"{name}={value}")
    yield code(HAS_CONCEPT_MOD, codes.ALGORITHM_FAMILY, codes.ARTIFICIAL_INTELLIGENCE)


def _parameters(key: str, algorithm: Algorithm) -> Iterator[tuple[str, str]]:
    yield ANALYSIS_KEY, key
    if algorithm.digest:
        yield MODEL_DIGEST, algorithm.digest
    yield from algorithm.parameters


def _modality(value: str) -> Coding | None:
    """The modality as a code of CID 29, whose values are the modality terms themselves."""
    for entry in (getattr(standard.CID29, name) for name in standard.CID29.dir()):
        if entry.value == value:
            return Coding(value=value, scheme="DCM", meaning=entry.meaning)
    return None


def _image_library(findings: Findings, sources: Mapping[str, Dataset]) -> Dataset:
    """TID 1600 with one TID 1602 group, in the order of the volume's slices."""
    first = next(iter(sources.values()))
    entries = []
    if modality := _modality(str(first.get("Modality", ""))):
        entries.append(code(HAS_ACQ_CONTEXT, codes.MODALITY, modality))
    study_date = str(first.get("StudyDate", "") or "")
    if len(study_date) == 8 and study_date.isdigit():
        entries.append(date(HAS_ACQ_CONTEXT, codes.STUDY_DATE, study_date))
    if findings.frame_of_reference_uid:
        entries.append(uid_reference(HAS_ACQ_CONTEXT, codes.FRAME_OF_REFERENCE_UID, findings.frame_of_reference_uid))
    entries += [image(CONTAINS, source) for source in findings.sources]
    group = container(CONTAINS, codes.IMAGE_LIBRARY_GROUP, entries)
    return container(CONTAINS, codes.IMAGE_LIBRARY, [group])


def _group(findings: Findings, finding: Finding, index: int, sources: Mapping[str, Dataset]) -> Dataset:
    """TID 1501."""
    place = f"findings[{index}]"
    concept, graphic = _graphic(findings, finding, sources, place)
    children = [
        text(HAS_OBS_CONTEXT, codes.TRACKING_IDENTIFIER, tracking_text(finding)),
        uid_reference(HAS_OBS_CONTEXT, codes.TRACKING_UID, finding.tracking_uid),
        code(CONTAINS, codes.FINDING, finding.finding, list(_centre(findings, finding, place))),
    ]
    if finding.site is not None:
        side = [code(HAS_CONCEPT_MOD, codes.LATERALITY, finding.laterality)] if finding.laterality else []
        children.append(code(HAS_CONCEPT_MOD, codes.FINDING_SITE, finding.site, side))
    elif finding.laterality is not None:
        raise UnwritableFindings("laterality without a site", place=place)
    if not finding.by_person:
        children += _algorithm(findings)
    children += _numbers(finding, concept, graphic)
    children += [code(CONTAINS, quality.concept, quality.value, _grounds(quality)) for quality in finding.qualities]
    return container(CONTAINS, codes.MEASUREMENT_GROUP, children, template="1501")


def _grounds(quality: Quality) -> list[Dataset]:
    """By which method a description was come to, and how sure it is: TID 1501 is extensible."""
    grounds = [] if quality.method is None else [code(HAS_CONCEPT_MOD, codes.METHOD, quality.method)]
    if quality.confidence is not None:
        sure = certainty(quality.confidence)
        grounds.append(number(HAS_PROPERTIES, sure.concept, sure.value, sure.unit))
    return grounds


def _centre(findings: Findings, finding: Finding, place: str) -> Iterator[Dataset]:
    if finding.center_mm is None:
        return
    if not findings.frame_of_reference_uid:
        raise UnwritableFindings("a position without a frame of reference", place=f"{place}.center_mm")
    yield scoord3d(INFERRED_FROM, codes.CENTER, "POINT", [finding.center_mm], findings.frame_of_reference_uid)


def _graphic(findings: Findings, finding: Finding, sources: Mapping[str, Dataset], place: str) -> tuple[Coding, Region]:
    """What is drawn: the finding's own region, else its centre on the nearest slice."""
    if finding.region is not None:
        return codes.IMAGE_REGION, finding.region
    planes = [
        plane(sources[image.sop_instance_uid], image.frame_number) if image.sop_instance_uid in sources else None
        for image in findings.sources
    ]
    index = nearest(finding.center_mm, planes) if finding.center_mm is not None else None
    at = planes[index] if index is not None else None
    if finding.center_mm is None or index is None or at is None:
        raise UnwritableFindings("neither a region nor a position on a known slice", place=place)
    return codes.CENTER, _marked(finding, at.to_pixel(finding.center_mm), at.spacing, findings.sources[index])


def _marked(finding: Finding, centre: tuple[float, float], spacing: tuple[float, float], on: ImageReference) -> Region:
    """A square as large as the finding's diameter around its centre; one pixel where no diameter is known."""
    diameters = [m.value for m in finding.measurements if m.concept == codes.DIAMETER and m.unit == codes.MILLIMETER]
    half = max(0.0, diameters[0]) / 2 if diameters else 0.0
    across, down = half / spacing[1], half / spacing[0]
    corners = ((centre[0] - across, centre[1] - down), (centre[0] + across, centre[1] + down))
    return Region(image=on, graphic_type="POLYLINE", points=bounding_rectangle("POLYLINE", corners))


def is_rectangle(region: Region) -> bool:
    """Whether a region is what bounding_rectangle makes: closed, five points, along the image's axes."""
    return region.graphic_type == "POLYLINE" and region.points == bounding_rectangle("POLYLINE", region.points)


def _item(concept: Coding, region: Region, relationship: str = INFERRED_FROM) -> Dataset:
    return scoord(relationship, concept, region.graphic_type, region.points, region.image)


def _numbers(finding: Finding, concept: Coding, graphic: Region) -> list[Dataset]:
    """TID 300 for each measurement and for the certainty, with the graphics hung on them (TID 320)."""
    certain = [] if finding.confidence is None else [certainty(finding.confidence)]
    numbers = [*finding.measurements, *certain]
    if certain and not _is_free(numbers[0]):
        # The number that carries the rectangle stands first; only the certainty may be moved for it.
        numbers = [*certain, *finding.measurements]
    free = [index for index, measurement in enumerate(numbers) if _is_free(measurement)]
    if not free:
        # No number can carry it: the graphic stands in the group itself, as in TID 1410.
        drawn = [_item(*each, CONTAINS) for each in _graphics(concept, graphic, alone=False)]
        return drawn + [_number(measurement, []) for measurement in numbers]
    others = [*free[1:], *(index for index in range(len(numbers)) if index not in free)]
    graphics = _graphics(concept, graphic, alone=not others)
    hung = {at: _item(*each) for at, each in zip((free[0], *others), graphics, strict=False)}
    return [_number(m, [hung[index]] if index in hung else []) for index, m in enumerate(numbers)]


def _is_free(measurement: Measurement) -> bool:
    """Whether a graphic would be a number's only child, which is how viewers look for it."""
    added = (measurement.method, measurement.region, measurement.derivation, measurement.uncertainty)
    return all(each is None for each in added)


def _graphics(concept: Coding, graphic: Region, *, alone: bool) -> list[tuple[Coding, Region]]:
    """A rectangle as it is; any other region as its rectangle and, on a second number, its outline."""
    if is_rectangle(graphic):
        return [(concept, graphic)]
    if alone:
        return [(codes.OUTLINE, graphic)]
    rectangle = Region(
        image=graphic.image,
        graphic_type="POLYLINE",
        points=bounding_rectangle(graphic.graphic_type, graphic.points),
    )
    return [(concept, rectangle), (codes.OUTLINE, graphic)]


def certainty(confidence: float) -> Measurement:
    """Certainty of Finding (111012) in percent; the shift by two digits is decimal, so that it can be undone."""
    return Measurement(concept=codes.CERTAINTY, value=float(Decimal(repr(confidence)) * 100), unit=codes.PERCENT)


def _number(measurement: Measurement, graphics: Sequence[Dataset]) -> Dataset:
    children = list(graphics)
    if measurement.region is not None:
        children.append(_item(codes.SOURCE_OF_MEASUREMENT, measurement.region))
    if measurement.method is not None:
        children.append(code(HAS_CONCEPT_MOD, codes.METHOD, measurement.method))
    if measurement.derivation is not None:
        children.append(code(HAS_CONCEPT_MOD, codes.DERIVATION, measurement.derivation))
    if (uncertainty := measurement.uncertainty) is not None:
        children.append(number(HAS_PROPERTIES, codes.UNCERTAINTY_BELOW, uncertainty.below, measurement.unit))
        if uncertainty.above is not None:
            children.append(number(HAS_PROPERTIES, codes.UNCERTAINTY_ABOVE, uncertainty.above, measurement.unit))
    return number(CONTAINS, measurement.concept, measurement.value, measurement.unit, children)
