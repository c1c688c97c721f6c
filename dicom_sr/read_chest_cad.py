"""A Chest CAD report (PS3.16 TID 4100) as findings: composite features (TID 4102) and single image findings (TID 4104).

What its author marked as not for presentation (CID 6034) stays out of the result: it was written for the next program.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from dicom_sr import codes
from dicom_sr.content_tree import Node, first_code
from dicom_sr.errors import UnreadableReport
from dicom_sr.findings import Finding
from dicom_sr.read_group import Surroundings, center_of, finding_of, marked_center
from terminology.codings import Coding

#: Descriptions that say how to show a finding or what it was composed by, not what it is like.
_NO_QUALITY = (codes.RENDERING_INTENT, codes.SCOPE_OF_FEATURE, codes.COMPOSITE_TYPE, codes.SINGLE_IMAGE_FINDING)
_FEATURES = (codes.COMPOSITE_FEATURE, codes.SINGLE_IMAGE_FINDING)
#: Features refer to features; more levels, or more of them, were made to exhaust their reader.
_DEEPEST, _MOST = 16, 4096


def is_chest_cad(document: Node) -> bool:
    """Whether the report is by TID 4100."""
    return document.concept == codes.CHEST_CAD_REPORT


def chest_cad_findings(document: Node, around: Surroundings) -> list[Finding]:
    """The findings to be presented, those nearest to the summary; composites with what they were inferred from.

    Raises UnreadableReport where there are none and the algorithms did not all succeed: that is no normal result.
    """
    summary = next(document.named(codes.CAD_SUMMARY, "CODE"), None)
    if summary is None:
        raise UnreadableReport("no summary of CAD processing: not a report by TID 4100", place="ContentSequence")
    features = [feature for feature in islice(_features(summary, around, 0), _MOST) if _is_shown(feature)]
    if not features and summary.code() not in (codes.NO_FINDINGS, codes.WITH_FINDINGS):
        raise UnreadableReport("not all algorithms succeeded, and nothing was found", place=summary.place)
    return [_finding(feature, index, around) for index, feature in enumerate(features)]


def algorithm_holders(document: Node) -> list[Node]:
    """The items that may name the program: features, then the detections and analyses performed (TID 4015, 4016)."""
    pending, found = [document], list[Node]()
    while pending:
        node = pending.pop(0)
        below = node.children()
        if any(child.concept == codes.ALGORITHM_NAME for child in below):
            found.append(node)
        pending += below
    return found


def _is_shown(feature: Node) -> bool:
    return first_code(feature.named(codes.RENDERING_INTENT)) != codes.NOT_FOR_PRESENTATION


def _features(parent: Node, around: Surroundings, depth: int) -> Iterator[Node]:
    """The features right below, through containers of impressions, by value or by reference."""
    if depth > _DEEPEST:
        raise UnreadableReport("nested too deeply", place=parent.place)
    for child in parent.children():
        node = around.resolved(child)
        if node.concept in _FEATURES and node.value_type == "CODE":
            yield node
        elif node.value_type == "CONTAINER":
            yield from _features(node, around, depth + 1)


def _parts(feature: Node, around: Surroundings) -> Iterator[Node]:
    """The single image findings of a feature, itself if it is one; each once, however often it is referred to."""
    pending, seen = [feature], set[str]()
    while pending and len(seen) < _MOST:
        node = pending.pop(0)
        if node.place in seen:
            continue
        seen.add(node.place)
        if node.concept == codes.SINGLE_IMAGE_FINDING:
            yield node
        else:
            pending += islice(_features(node, around, 0), _MOST)


def _finding(feature: Node, index: int, around: Surroundings) -> Finding:
    """One feature; of a composite one, place and size come from the part that lies on an image at hand."""
    what = feature.code()
    if what is None:
        raise UnreadableReport("a feature that is not said to be anything", place=feature.place)
    parts = [_placed(finding_of(part, index, around), part, around) for part in _parts(feature, around)]
    own = finding_of(feature, index, around)
    at_hand = [part for part in parts if part.region and part.region.image.sop_instance_uid in around.images]
    best = next(iter([*at_hand, *(part for part in parts if part.region), *parts]), own)
    # Of what a composite says itself only the rest is taken from its part.
    named = feature if any(feature.named(codes.TRACKING_UID)) else None
    site = own.site or _location(feature) or best.site
    return replace(
        best,
        finding=what,
        tracking_id=own.tracking_id or best.tracking_id,
        tracking_uid=own.tracking_uid if named else best.tracking_uid,
        site=site,
        laterality=own.laterality or best.laterality,
        confidence=best.confidence if own.confidence is None else own.confidence,
        measurements=own.measurements or best.measurements,
        qualities=tuple(
            one for one in own.qualities or best.qualities if one.concept not in _NO_QUALITY and one.value != site
        ),
    )


def _placed(finding: Finding, node: Node, around: Surroundings) -> Finding:
    """A finding of which only the centre is marked lies there."""
    if finding.region is None:
        finding = replace(finding, region=marked_center(node, around))
    if finding.center_mm is None and finding.region is not None:
        finding = replace(finding, center_mm=center_of(finding.region, around))
    return replace(finding, site=finding.site or _location(node))


def _location(node: Node) -> Coding | None:
    return first_code(node.named(codes.LOCATION_IN_CHEST))
