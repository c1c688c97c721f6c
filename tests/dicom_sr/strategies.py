"""Findings of all shapes, for property tests."""

import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
from hypothesis import strategies as st

from dicom_sr.findings import Algorithm, Finding, Findings, Gone, Mask, Measurement, Quality, Region, Uncertainty
from dicom_sr.voxels import pack
from terminology.codings import Coding
from tests.dicom_sr.examples import COLUMNS, FRAME_OF_REFERENCE, ROWS, SLICES, STUDY, references

#: What a DICOM text of one line may hold: no control characters, no backslash, no blank at the ends.
words = (
    st.text(string.ascii_letters + string.digits + "äéß结节 .-_<>&'\"", min_size=1, max_size=20)
    .map(str.strip)
    .filter(bool)
)
names = words.map(lambda word: word.replace("=", "-"))
uids = st.integers(1, 2**100).map(lambda number: f"2.25.{number}")
codings = st.builds(
    lambda value, scheme, meaning: Coding(value=value, scheme=scheme, meaning=meaning),
    st.text(string.ascii_uppercase + string.digits, min_size=1, max_size=24).map(lambda value: f"Z{value}"),
    st.sampled_from(["DCM", "SCT", "99HUTONG", "99OTHER"]),
    words,
)
#: Coordinates as adapters give them: to a micrometre (or a thousandth of a pixel), which FL holds.
coordinates = st.integers(-999_999, 999_999).map(lambda number: number / 1000)
images = st.sampled_from(references())
points = st.lists(st.tuples(coordinates, coordinates), min_size=2, max_size=8).map(tuple)
regions = st.builds(
    lambda image, points: Region(image=image, graphic_type="POLYLINE", points=points), images, points
) | st.builds(
    lambda image, point: Region(image=image, graphic_type="POINT", points=(point,)), images, points.map(lambda p: p[0])
)
values = st.floats(allow_nan=False, allow_infinity=False, width=64)
measurements = st.builds(
    lambda concept, value, unit, method, region, derivation, uncertainty: Measurement(
        concept=concept, value=value, unit=unit, method=method, region=region, derivation=derivation,
        uncertainty=uncertainty,
    ),
    codings,
    values,
    codings,
    st.none() | codings,
    st.none() | regions,
    st.none() | codings,
    st.none() | st.builds(lambda below, above: Uncertainty(below=below, above=above), values, st.none() | values),
)  # fmt: skip
#: Fifteen significant digits are what a decimal shift keeps.
confidences = st.integers(0, 10**15).map(lambda number: number / 10**15)
qualities = st.builds(
    lambda concept, value, method, confidence: Quality(
        concept=concept, value=value, method=method, confidence=confidence
    ),
    codings,
    codings,
    st.none() | codings,
    st.none() | confidences,
)


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    """A few voxels anywhere in the volume."""
    count = draw(st.integers(1, 6))
    box = np.zeros((SLICES, ROWS, COLUMNS), np.bool_)
    for _ in range(count):
        at = draw(st.tuples(st.integers(0, SLICES - 1), st.integers(0, ROWS - 1), st.integers(0, COLUMNS - 1)))
        box[at] = True
    mask = pack(box)
    assert mask is not None
    return replace(mask, method=draw(st.sampled_from(["", "ball of the mean diameter"])))


@st.composite
def nodules(draw: st.DrawFn) -> Finding:
    """One finding that has a place."""
    site = draw(st.none() | codings)
    return Finding(
        tracking_id=draw(words),
        tracking_uid=draw(uids),
        finding=draw(codings),
        site=site,
        laterality=draw(st.none() | codings) if site else None,
        center_mm=draw(st.none() | st.tuples(coordinates, coordinates, coordinates)),
        confidence=draw(st.none() | confidences),
        region=draw(regions),
        measurements=tuple(draw(st.lists(measurements, max_size=4))),
        qualities=tuple(draw(st.lists(qualities, max_size=3))),
        mask=draw(st.none() | masks()),
    )


@st.composite
def lesions_gone(draw: st.DrawFn) -> Gone:
    """One lesion of a prior study that is there no more."""
    site = draw(st.none() | codings)
    return Gone(
        tracking_id=draw(words),
        tracking_uid=draw(uids),
        finding=draw(codings),
        site=site,
        laterality=draw(st.none() | codings) if site else None,
    )


moments = st.datetimes(
    min_value=datetime(1990, 1, 1),
    max_value=datetime(2090, 1, 1),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=8)), timezone(-timedelta(hours=3, minutes=30))]),
)
algorithms = st.builds(
    lambda name, version, manufacturer, device_uid, digest, parameters: Algorithm(
        name=name,
        version=version,
        manufacturer=manufacturer,
        device_uid=device_uid,
        digest=digest,
        parameters=parameters,
    ),
    words,
    words,
    words,
    uids,
    st.sampled_from(["", "0f" * 32]),
    st.lists(st.tuples(names.map(lambda name: f"p {name}"), words), max_size=3).map(tuple),
)


@st.composite
def reports(draw: st.DrawFn) -> Findings:
    """What one analysis may find; its author is a program, a person, or both."""
    found = draw(st.lists(nodules(), max_size=3, unique_by=lambda finding: finding.tracking_uid))
    gone = draw(st.lists(lesions_gone(), max_size=2, unique_by=lambda lesion: lesion.tracking_uid))
    algorithm = draw(st.none() | algorithms)
    person = draw(words) if algorithm is None else draw(st.none() | words)
    if algorithm is not None and person is not None:
        found = [replace(finding, by_person=draw(st.booleans())) for finding in found]
    return Findings(
        key=draw(st.text("0123456789abcdef", min_size=16, max_size=64)),
        study_instance_uid=STUDY,
        frame_of_reference_uid=FRAME_OF_REFERENCE,
        sources=references(),
        findings=tuple(found),
        gone=tuple(gone),
        timestamp=draw(moments),
        algorithm=algorithm,
        person=person,
        procedure=draw(st.none() | codings),
        verified=person is not None and draw(st.booleans()),
        comments=tuple(draw(st.lists(words, max_size=2))),
    )
