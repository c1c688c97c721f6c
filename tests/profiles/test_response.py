"""RECIST 1.1 over two and more studies, every boundary."""

from typing import Any

import pytest

from server.fhir import definitions
from server.fhir.validate import validate
from tests.profiles.test_tables import applied, code_of, document, of

FOUND = document("lung-rads-2022")
Resource = dict[str, Any]
TARGET, NON_TARGET = "112074", "112075"
COMPLETE, PARTIAL, PROGRESSIVE, STABLE = "112041", "112042", "112043", "112044"


def target(size: float, **more: Any) -> dict[str, Any]:
    words = [TARGET, *more.pop("words", [])]
    return {"long": size, "short": 5.0, "words": words, **more}


def followed(*studies: list[dict[str, Any]]) -> list[list[Resource]]:
    """What each study in turn leads to, a month apart."""
    there: list[Resource] = []
    answers = []
    for month, lesions in enumerate(studies, 1):
        case = {
            "context": "recist-1-1", "key": f"study{month}", "seen": f"2026-{month:02d}-01T10:00:00Z",
            "lesions": lesions, "resources": there,
        }  # fmt: skip
        made, known = applied(FOUND, case)
        for resource in made:
            assert [issue for issue in validate(definitions.load(), resource) if issue.severity != "warning"] == []
        answers.append(made)
        there = [*known, *made]
    return answers


def response(made: list[Resource]) -> str | None:
    found = [one for one in of(made, "Observation") if code_of(one) == "target-response"]
    return found[0]["valueCodeableConcept"]["coding"][0]["code"] if found else None


def total(made: list[Resource]) -> float | None:
    found = [one for one in of(made, "Observation") if code_of(one) == "sum-of-diameters"]
    return float(found[0]["valueQuantity"]["value"]) if found else None


def problems(made: list[Resource]) -> list[str]:
    found = [one for one in of(made, "Observation") if code_of(one) == "response-not-evaluable"]
    return [one["dataAbsentReason"]["text"] for one in found]


@pytest.mark.parametrize(
    ("sums", "expected"),
    [
        ([100.0, 100.0], STABLE),
        ([100.0, 70.1], STABLE),
        ([100.0, 70.0], PARTIAL),
        ([100.0, 119.9], STABLE),
        ([100.0, 120.0], PROGRESSIVE),
        # The smallest sum counts, not the first; and 5 mm at least.
        ([100.0, 50.0, 59.9], PARTIAL),
        ([100.0, 50.0, 60.0], PROGRESSIVE),
        ([100.0, 50.0, 80.0, 59.9], PARTIAL),
        ([20.0, 24.9], STABLE),
        ([20.0, 25.0], PROGRESSIVE),
        ([100.0, 20.0, 24.9], PARTIAL),
    ],
)
def test_against_baseline_and_the_smallest_sum(sums: list[float], expected: str) -> None:
    # Sizes are told to a tenth of a millimetre.
    parts = [(value // 2, round(value - value // 2, 1)) for value in sums]
    studies = [[target(one, lobe="upper"), target(other, lobe="lower")] for one, other in parts]
    first, *later = followed(*studies)
    assert response(first) is None and total(first) == sums[0]
    assert (response(later[-1]), total(later[-1])) == (expected, sums[-1])
    # Nobody under treatment is screened.
    assert not of(first, "ServiceRequest") and not of(first, "CarePlan")


def test_what_is_gone_and_what_is_new() -> None:
    gone = {"long": 3.0, "short": 3.0, "words": ["resolved"]}
    new = {"long": 4.0, "short": 4.0, "words": ["new"]}
    assert response(followed([target(20.0)], [gone])[1]) == COMPLETE
    assert response(followed([target(20.0)], [gone, new])[1]) == PROGRESSIVE
    assert response(followed([target(20.0)], [target(20.0), new])[1]) == PROGRESSIVE
    # What was no target at baseline is none later, whatever it is marked as.
    assert total(followed([target(20.0)], [target(20.0), target(50.0)])[1]) == 20.0


def overall(made: list[Resource]) -> tuple[str | None, str | None]:
    """Of the non-target lesions, and as a whole."""
    found = {code_of(one): one for one in of(made, "Observation")}
    both = (found.get("non-target-response"), found.get("overall-response"))
    first, second = (one and one["valueCodeableConcept"]["coding"][0]["code"] for one in both)
    return first, second


GONE = {"long": 3.0, "short": 3.0, "words": ["resolved"]}
OTHER = {"long": 8.0, "short": 8.0, "words": [NON_TARGET]}
THERE = {"long": 8.0, "short": 8.0}
WORSE = {"long": 20.0, "short": 20.0, "words": ["112047"]}
SMALLER, LARGER = {"long": 14.0, "short": 5.0}, {"long": 25.0, "short": 5.0}


@pytest.mark.parametrize(
    ("now", "others", "whole"),
    [
        ([GONE, GONE], "112045", "complete-response"),
        ([GONE, THERE], "112046", "partial-response"),
        ([GONE, WORSE], "112047", "progressive-disease"),
        ([SMALLER, GONE], "112045", "partial-response"),
        ([SMALLER, THERE], "112046", "partial-response"),
        ([SMALLER, WORSE], "112047", "progressive-disease"),
        ([target(20.0), THERE], "112046", "stable-disease"),
        ([target(20.0), GONE], "112045", "stable-disease"),
        ([target(20.0), WORSE], "112047", "progressive-disease"),
        ([LARGER, GONE], "112045", "progressive-disease"),
        # Not all of them were looked at.
        ([SMALLER], None, "partial-response"),
        ([target(20.0)], None, "stable-disease"),
        ([LARGER], None, "progressive-disease"),
        ([GONE], None, None),
        # New lesions, whatever the others do.
        ([GONE, GONE, {"long": 4.0, "short": 4.0, "words": ["new"]}], "112045", "progressive-disease"),
        ([SMALLER, THERE, {"long": 4.0, "short": 4.0, "words": ["new"]}], "112046", "progressive-disease"),
    ],
)
def test_targets_and_the_other_lesions_together(now: list[Resource], others: str | None, whole: str | None) -> None:
    first, later = followed([target(20.0), OTHER], now)
    assert overall(first) == (None, None)
    assert overall(later) == (others, whole)
    missed = ["a non-target lesion was not looked at in this study"] if whole is None else []
    assert problems(later) == missed


def test_without_other_lesions_the_targets_decide() -> None:
    for now, whole in ((GONE, "complete-response"), (SMALLER, "partial-response"), (LARGER, "progressive-disease")):
        assert overall(followed([target(20.0)], [now])[1]) == (None, whole)


@pytest.mark.parametrize(("short", "expected"), [(9.9, COMPLETE), (10.0, PARTIAL)])
def test_a_node_below_10_mm_is_a_normal_one(short: float, expected: str) -> None:
    node = target(30.0, short=20.0, words=["lymph-node"])
    assert response(followed([node], [{**node, "short": short}])[1]) == expected


def test_nodes_are_measured_by_their_short_axis() -> None:
    node = target(30.0, short=15.0, words=["lymph-node"])
    assert total(followed([node])[0]) == 15.0
    assert problems(followed([{**node, "short": 14.9}])[0]) == [
        "a target lesion is smaller than 10 mm (long axis), or a node than 15 mm (short axis)"
    ]


def test_limits_of_target_lesions() -> None:
    lobes = ("upper", "upper", "middle", "middle", "lower")
    five = [target(10.0, lobe=lobe) for lobe in lobes]
    assert total(followed(five)[0]) == 50.0
    six = followed([*five, target(10.0, lobe="lower")])[0]
    assert problems(six) == ["more than five target lesions"] and total(six) is None
    three = followed([target(10.0, lobe="upper")] * 3)[0]
    assert problems(three) == ["more than two target lesions in an organ"]
    small = followed([target(9.9)])[0]
    assert len(problems(small)) == 1 and "smaller than 10 mm" in problems(small)[0]
    assert problems(followed([{"long": 20.0}])[0]) == ["no target lesion is marked"]


def test_a_target_that_was_not_measured_again_leaves_no_response() -> None:
    later = followed([target(20.0), target(30.0)], [target(20.0)])[1]
    assert problems(later) == ["a target lesion was not measured in this study"]
    assert response(later) is None and total(later) is None
