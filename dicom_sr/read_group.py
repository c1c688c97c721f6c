"""One measurement group as a Finding: PS3.16 TID 1410, 1411 and 1501, by whoever wrote it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from pydicom import Dataset

from dicom_sr import codes
from dicom_sr.content_tree import Node, coding, first_code, first_text, items, number, numbers, referred, text
from dicom_sr.errors import UnreadableReport
from dicom_sr.findings import Finding, Gone, ImageReference, Measurement, Point, Quality, Region, Uncertainty
from dicom_sr.geometry import plane
from dicom_sr.identity import uid
from dicom_sr.measurement_report import RECTANGLE_PREFIX
from terminology.codings import Coding

#: Graphics that stand for the finding as a whole; under a number, any other graphic is the number's own.
_OF_FINDING = (codes.OUTLINE, codes.IMAGE_REGION)
#: How a group relates to its descriptions: in TID 1501, in TID 4104.
_DESCRIBES = ("CONTAINS", "HAS PROPERTIES", "")
_P = TypeVar("_P")
_NO_UNIT = Coding(value="1", scheme="UCUM", meaning="no units")


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a group does not say itself."""

    #: SOPInstanceUID of the report.
    report: str
    #: SeriesInstanceUID by SOPInstanceUID, from the evidence.
    series: Mapping[str, str]
    #: Headers of the images reported on, by SOPInstanceUID, where somebody has them.
    images: Mapping[str, Dataset]
    #: The document, for relationships by reference.
    document: Node | None = None

    def resolved(self, node: Node) -> Node:
        """The item, or the one that it refers to."""
        return node if self.document is None else referred(self.document, node)


def finding_of(group: Node, index: int, around: Surroundings) -> Finding:
    """The Finding of one group; raises UnreadableReport with the place of what can't be understood."""
    tracking_id = first_text(group.named(codes.TRACKING_IDENTIFIER)).removeprefix(RECTANGLE_PREFIX)
    tracking_uid = first_text(group.named(codes.TRACKING_UID))
    site = next(group.named(codes.FINDING_SITE, "CODE"), None)
    measured = [_measurement(node, around) for node in group.children() if node.value_type == "NUM"]
    known = [measurement for measurement in measured if measurement is not None]
    certain = [m for m in known if m.concept == codes.CERTAINTY and _share(m) is not None]
    region = _region(group, around)
    return Finding(
        tracking_id=tracking_id,
        # A group that nobody can track still needs a name of its own: one that follows from where it stands.
        tracking_uid=tracking_uid or uid("2.25", "untracked", around.report, str(index)),
        finding=first_code(group.named(codes.FINDING)) or codes.FINDING,
        site=site.code() if site else None,
        laterality=_laterality(group, site),
        center_mm=_centre(group, region, around),
        confidence=_share(certain[0]) if certain else None,
        region=region,
        measurements=tuple(m for m in known if m not in certain[:1]),
        qualities=tuple(_qualities(group, around)),
    )


def gone_of(node: Node) -> Gone:
    """A lesion that a qualitative evaluation says is there no more."""
    site = next(node.named(codes.FINDING_SITE, "CODE"), None)
    return Gone(
        tracking_id=first_text(node.named(codes.TRACKING_IDENTIFIER)).removeprefix(RECTANGLE_PREFIX),
        tracking_uid=first_text(node.named(codes.TRACKING_UID)),
        finding=first_code(node.named(codes.FINDING)) or codes.FINDING,
        site=site.code() if site else None,
        laterality=_laterality(node, site),
    )


def _laterality(group: Node, site: Node | None) -> Coding | None:
    below = first_code(site.named(codes.LATERALITY)) if site else None
    return below or (first_code(group.named(codes.LATERALITY)) if site else None)


def _share(measurement: Measurement) -> float | None:
    """A certainty in percent or as a share, as a share; None where it is neither."""
    if measurement.unit == codes.PERCENT:
        share = float(Decimal(repr(measurement.value)) / 100)
    elif measurement.unit == _NO_UNIT:
        share = measurement.value
    else:
        return None
    return share if 0 <= share <= 1 else None


def _qualities(group: Node, around: Surroundings) -> Iterator[Quality]:
    for node in group.children():
        if node.value_type != "CODE" or node.concept is None or node.relationship not in _DESCRIBES:
            continue
        answer = node.code()
        if node.concept != codes.FINDING and answer is not None:
            method = first_code(node.named(codes.METHOD))
            yield Quality(concept=node.concept, value=answer, method=method, confidence=_certainty_of(node, around))
    for node in group.named(codes.METHOD, "CODE"):
        if (answer := node.code()) is not None:
            yield Quality(concept=codes.METHOD, value=answer)


def _certainty_of(quality: Node, around: Surroundings) -> float | None:
    """How sure a description is, where that is said in percent or as a share."""
    said = (_measurement(node, around) for node in quality.named(codes.CERTAINTY, "NUM"))
    return next((share for each in said if each is not None and (share := _share(each)) is not None), None)


def _measurement(node: Node, around: Surroundings) -> Measurement | None:
    """TID 300; None for a number without a value, which only says why there is none."""
    for measured in items(node.dataset, "MeasuredValueSequence", node.place):
        place = f"{node.place}MeasuredValueSequence[0]."
        amount = _value(measured, place)
        if amount is None:
            return None
        if node.concept is None:
            raise UnreadableReport("a number without a name", place=node.place)
        return Measurement(
            concept=node.concept,
            value=amount,
            unit=coding(measured, "MeasurementUnitsCodeSequence", place) or _NO_UNIT,
            method=first_code(node.named(codes.METHOD)),
            derivation=first_code(node.named(codes.DERIVATION)),
            uncertainty=_uncertainty(node),
            region=next((r for c, r in _graphics(node, around) if c not in (*_OF_FINDING, codes.CENTER)), None),
        )
    return None


def _uncertainty(node: Node) -> Uncertainty | None:
    """TID 310; None where the number does not say how far down it reaches."""
    below, above = (_amount(node, concept) for concept in (codes.UNCERTAINTY_BELOW, codes.UNCERTAINTY_ABOVE))
    return None if below is None else Uncertainty(below=below, above=above)


def _amount(node: Node, concept: Coding) -> float | None:
    for child in node.named(concept, "NUM"):
        for measured in items(child.dataset, "MeasuredValueSequence", child.place):
            return _value(measured, f"{child.place}MeasuredValueSequence[0].")
    return None


def _value(measured: Dataset, place: str) -> float | None:
    """The exact value where there is one."""
    amount = number(measured, "FloatingPointValue", place)
    return number(measured, "NumericValue", place) if amount is None else amount


def _graphics(parent: Node, around: Surroundings) -> Iterator[tuple[Coding | None, Region]]:
    """The SCOORDs right below an item that say which image they lie on."""
    for node in parent.children():
        if node.value_type != "SCOORD":
            continue
        flat = numbers(node.dataset, "GraphicData", node.place)
        if len(flat) < 2 or len(flat) % 2:
            raise UnreadableReport("no pairs of coordinates", place=f"{node.place}GraphicData")
        points = tuple(zip(flat[::2], flat[1::2], strict=True))
        image = next(_images(node, around), None)
        kind = text(node.dataset, "GraphicType", node.place)
        if image is not None and kind:
            yield node.concept, Region(image=image, graphic_type=kind, points=points)


def _images(parent: Node, around: Surroundings) -> Iterator[ImageReference]:
    for child in parent.children():
        node = around.resolved(child)
        if node.value_type == "IMAGE":
            yield from image_references(node, around.series)


def image_references(node: Node, series: Mapping[str, str]) -> Iterator[ImageReference]:
    """What an IMAGE item refers to: PS3.3 C.18.4."""
    for item in items(node.dataset, "ReferencedSOPSequence", node.place):
        place = f"{node.place}ReferencedSOPSequence[0]."
        frame = number(item, "ReferencedFrameNumber", place)
        instance = text(item, "ReferencedSOPInstanceUID", place)
        if instance:
            yield ImageReference(
                sop_class_uid=text(item, "ReferencedSOPClassUID", place),
                sop_instance_uid=instance,
                series_instance_uid=series.get(instance, ""),
                frame_number=None if frame is None else int(frame),
            )


def _region(group: Node, around: Surroundings) -> Region | None:
    """The finding's graphic: in the group itself (TID 1410) or below one of its numbers, an outline before a box."""
    own = list(_graphics(group, around))
    numbers = (node for node in group.children() if node.value_type == "NUM")
    graphics = [*own, *(each for node in numbers for each in _graphics(node, around))]
    for wanted in _OF_FINDING:
        for concept, region in graphics:
            if concept == wanted:
                return region
    return next((region for concept, region in own if concept != codes.CENTER), None)


def _centre(group: Node, region: Region | None, around: Surroundings) -> Point | None:
    """The centre: given as a point, as the middle of a graphic in space, or of one on an image whose place is known."""
    holders = [*group.named(codes.FINDING), group, *(n for n in group.children() if n.value_type == "NUM")]
    for holder in holders:
        for node in holder.children():
            if node.value_type == "SCOORD3D":
                return _middle_in_space(node)
    return None if region is None else center_of(region, around)


def center_of(region: Region, around: Surroundings) -> Point | None:
    """The middle of a graphic in the patient; None where the image is not at hand or does not say where it lies."""
    if region.image.sop_instance_uid not in around.images:
        return None
    at = plane(around.images[region.image.sop_instance_uid], region.image.frame_number)
    if at is None:
        return None
    points = region.points[:1] if region.graphic_type == "CIRCLE" else _open(region.points)
    column, row = (sum(point[axis] for point in points) / len(points) for axis in range(2))
    return at.to_patient(column, row)


def marked_center(group: Node, around: Surroundings) -> Region | None:
    """The graphic that marks the finding's centre, if there is one."""
    return next((region for concept, region in _graphics(group, around) if concept == codes.CENTER), None)


def _middle_in_space(node: Node) -> Point:
    flat = numbers(node.dataset, "GraphicData", node.place)
    if len(flat) < 3 or len(flat) % 3:
        raise UnreadableReport("no triples of coordinates", place=f"{node.place}GraphicData")
    points = _open(tuple(zip(flat[::3], flat[1::3], flat[2::3], strict=True)))
    if len(points) == 1:
        return points[0]
    x, y, z = (sum(point[axis] for point in points) / len(points) for axis in range(3))
    return x, y, z


def _open(points: tuple[_P, ...]) -> tuple[_P, ...]:
    """The points without the last where it closes the figure."""
    return points[:-1] if len(points) > 1 and points[0] == points[-1] else points
