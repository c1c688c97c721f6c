"""What a person changes in a finding, and the finding that comes of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from dicom_sr import codes
from dicom_sr.findings import Finding, ImageReference, Measurement, Quality, Region
from dicom_sr.geometry import Plane
from dicom_sr.revise import says_the_same
from terminology.codings import Coding
from terminology.private_scheme import CHANGE

#: Corners of the ring that stands for a lesion whose outline nobody drew.
_CORNERS = 24
#: What stays when a person changes a size: a segmented volume, and what follows from it or a prior, does not hold.
_OWN = (codes.LONG_AXIS, codes.SHORT_AXIS, codes.DIAMETER)


@dataclass(frozen=True, kw_only=True)
class Spot:
    """A place on an image."""

    image: ImageReference
    plane: Plane
    #: SCOORD (column, row), pixels.
    column: float
    row: float


@dataclass(frozen=True, kw_only=True)
class Edit:
    """What a finding is to be from now on; what is not named stays."""

    finding: Coding | None = None
    site: Coding | None = None
    laterality: Coding | None = None
    #: By concept.
    qualities: Mapping[Coding, Coding] = field(default_factory=dict)
    #: By concept, in the unit that the finding has it in, or mm.
    numbers: Mapping[Coding, float] = field(default_factory=dict)
    spot: Spot | None = None


def edited(finding: Finding, edit: Edit, on: Spot | None) -> Finding:
    """The finding with an edit, the very same where the edit changes nothing; ``on`` is where it lies now.

    A segmented volume and drawn axes no longer hold once a person changes size or place: they go, unless given.
    """
    measurements = _numbers(finding, edit)
    resized = measurements != finding.measurements
    spot = edit.spot or on
    after = replace(
        finding,
        finding=edit.finding or finding.finding,
        site=edit.site or finding.site,
        laterality=edit.laterality or finding.laterality,
        qualities=_qualities(finding, edit, resized=resized),
        measurements=measurements,
        center_mm=edit.spot.plane.to_patient(edit.spot.column, edit.spot.row) if edit.spot else finding.center_mm,
    )
    if says_the_same(after, finding):
        return finding
    if spot is not None and (resized or edit.spot is not None):
        after = replace(after, region=ring(spot, size_of(after)), mask=None)
        after = replace(after, measurements=tuple(_undrawn(m) for m in after.measurements))
    return replace(after, by_person=True)


def added(edit: Edit, *, tracking_id: str, tracking_uid: str) -> Finding:
    """A finding that only a person saw; its edit names place and kind."""
    spot = edit.spot
    plain = Finding(
        tracking_id=tracking_id,
        tracking_uid=tracking_uid,
        finding=edit.finding or codes.FINDING,
        site=edit.site,
        laterality=edit.laterality if edit.site else None,
        center_mm=spot.plane.to_patient(spot.column, spot.row) if spot else None,
        qualities=tuple(Quality(concept=concept, value=value) for concept, value in edit.qualities.items()),
        by_person=True,
    )
    after = replace(plain, measurements=_numbers(plain, edit))
    return replace(after, region=ring(spot, size_of(after))) if spot else after


def size_of(finding: Finding) -> float:
    """The mean diameter, mm; 0 where no length is known."""
    lengths = {m.concept: m.value for m in finding.measurements if m.unit == codes.MILLIMETER}
    axes = [lengths[concept] for concept in (codes.LONG_AXIS, codes.SHORT_AXIS) if concept in lengths]
    return lengths.get(codes.DIAMETER, sum(axes) / len(axes) if axes else 0.0)


def ring(spot: Spot, diameter: float) -> Region:
    """A circle on the image around a place, at least a pixel wide, as a closed line of points."""
    across = max(diameter / 2 / spot.plane.spacing[1], 0.5)
    down = max(diameter / 2 / spot.plane.spacing[0], 0.5)
    turns = [2 * math.pi * step / _CORNERS for step in range(_CORNERS)]
    points = [(round(spot.column + across * math.cos(t), 2), round(spot.row + down * math.sin(t), 2)) for t in turns]
    return Region(image=spot.image, graphic_type="POLYLINE", points=(*points, points[0]))


def _qualities(finding: Finding, edit: Edit, *, resized: bool) -> tuple[Quality, ...]:
    """The descriptions with what was given; one that a person changed keeps no method and no confidence."""
    given, after = dict(edit.qualities), []
    for one in finding.qualities:
        if one.concept in given:
            value = given.pop(one.concept)
            after.append(one if value == one.value else Quality(concept=one.concept, value=value))
        elif one.concept not in edit.qualities and not (resized and one.concept == CHANGE):
            after.append(one)
    return (*after, *(Quality(concept=concept, value=value) for concept, value in given.items()))


def _numbers(finding: Finding, edit: Edit) -> tuple[Measurement, ...]:
    """The measurements with what was given; the mean diameter follows its axes, what no longer fits goes."""
    known = {m.concept: m for m in finding.measurements}
    given = {c: v for c, v in edit.numbers.items() if c not in known or round(known[c].value, 3) != round(v, 3)}
    if not given:
        return finding.measurements
    values = {**{concept: m.value for concept, m in known.items()}, **given}
    axes = (codes.LONG_AXIS, codes.SHORT_AXIS)
    if any(axis in given for axis in axes) and all(axis in values for axis in axes):
        given.setdefault(codes.DIAMETER, (values[axes[0]] + values[axes[1]]) / 2)
    measured = [
        Measurement(concept=m.concept, value=given[m.concept], unit=m.unit, derivation=m.derivation)
        if m.concept in given
        else m
        for m in finding.measurements
        if m.concept in given or m.concept in _OWN
    ]
    new = [concept for concept in given if concept not in known]
    units = {codes.VOLUME: codes.CUBIC_MILLIMETER}
    measured += [Measurement(concept=c, value=given[c], unit=units.get(c, codes.MILLIMETER)) for c in new]
    return tuple(measured)


def _undrawn(measurement: Measurement) -> Measurement:
    return replace(measurement, region=None) if measurement.region is not None else measurement
