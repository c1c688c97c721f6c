"""Lesions keep their names from one analysis of a study to the next."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from dicom_sr.findings import Finding, Findings, Measurement
from server.fhir import instants
from server.workflow.tracking import Tracker
from terminology.codings import Coding

MM = Coding(value="mm", scheme="UCUM", meaning="mm")
NODULE = Coding(value="27925004", scheme="SCT", meaning="Nodule")
LONG = Coding(value="103339001", scheme="SCT", meaning="Long Axis")
EMPTY = Findings(
    key="before", study_instance_uid="2.25.1", frame_of_reference_uid="2.25.2", sources=(), findings=(),
    timestamp=instants.now(),
)  # fmt: skip


def lesion(name: str, center: tuple[float, float, float], long_mm: float) -> Finding:
    measurements = (Measurement(concept=LONG, value=long_mm, unit=MM),)
    return Finding(
        tracking_id=name, tracking_uid=f"uid {name}", finding=NODULE, center_mm=center, measurements=measurements
    )


def tracker(*before: Finding) -> Tracker:
    return Tracker(key="k", prefix="a", uid_root="2.25", before=replace(EMPTY, findings=before))


def test_the_nearest_within_its_radius_is_the_same_lesion() -> None:
    found = tracker(lesion("a 1", (0, 0, 0), 20), lesion("a 2", (8, 0, 0), 20))
    assert found.identify((7, 0, 0), 0) == ("a 2", "uid a 2")
    # A name is given once; the next nearest within reach is taken then.
    assert found.identify((6, 0, 0), 1) == ("a 1", "uid a 1")
    assert found.identify((6, 0, 0), 2)[0] == "a 3"


def test_beyond_the_radius_it_is_a_new_one() -> None:
    known = lesion("a 1", (0, 0, 0), 20)
    assert tracker(known).identify((10.0, 0, 0), 0)[1] == "uid a 1"
    assert tracker(known).identify((10.1, 0, 0), 0)[1] != "uid a 1"
    small = lesion("a 1", (0, 0, 0), 2)
    assert tracker(small).identify((3.0, 0, 0), 0)[1] == "uid a 1"


def test_names_follow_from_key_and_index() -> None:
    assert tracker().identify((1, 2, 3), 0) == tracker().identify((9, 9, 9), 0)
    assert tracker().identify((1, 2, 3), 0)[1] != tracker().identify((1, 2, 3), 1)[1]


@given(st.lists(st.tuples(*[st.floats(-300, 300)] * 3), max_size=12), st.lists(st.tuples(*[st.floats(-300, 300)] * 3)))
def test_no_two_lesions_get_one_name(
    before: list[tuple[float, float, float]], now: list[tuple[float, float, float]]
) -> None:
    found = tracker(*(lesion(f"a {number}", center, 12) for number, center in enumerate(before, 1)))
    names = [found.identify(center, index) for index, center in enumerate(now)]
    assert len({uid for _, uid in names}) == len({name for name, _ in names}) == len(now)
