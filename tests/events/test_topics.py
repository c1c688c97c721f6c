"""Topics fire on what they say, and their filters are those of search."""

from collections.abc import Sequence
from typing import Any

import pytest

from server.errors import Unprocessable
from server.events import topics
from server.fhir import definitions
from server.search.find import Search

TOPICS = {topic.url.rpartition("/")[2]: topic for topic in topics.load()}
SEARCH = Search(definitions.load())


def matches(resource: dict[str, Any], parameters: Sequence[tuple[str, str]]) -> bool:
    return SEARCH.matches(resource, resource["resourceType"], parameters)


def study(*series: tuple[str, str, int], status: str = "available") -> dict[str, Any]:
    return {
        "resourceType": "ImagingStudy",
        "id": "s",
        "status": status,
        "subject": {"reference": "Patient/p"},
        "series": [
            {
                "uid": uid,
                "modality": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": modality},
                "bodySite": {"system": "http://snomed.info/sct", "code": "816094009"},
                "numberOfInstances": count,
            }
            for uid, modality, count in series
        ],
    }


CT, MORE_CT, OTHER_CT = ("1.1", "CT", 5), ("1.1", "CT", 6), ("1.2", "CT", 5)
SR, SEG = ("1.8", "SR", 1), ("1.9", "SEG", 1)


@pytest.mark.parametrize(
    ("before", "after", "fires"),
    [
        (None, study(CT), True),
        (None, study(CT, status="registered"), False),
        (study(CT, status="registered"), study(CT), False),
        (study(CT), study(MORE_CT), True),
        (study(CT), study(CT, OTHER_CT), True),
        (study(CT, OTHER_CT), study(OTHER_CT, CT), False),
        # Results about a study, ours or others', don't make it available again.
        (study(CT), study(CT, SR), False),
        (study(CT, SR), study(SEG, CT, SR), False),
        (None, study(SR), False),
        (study(CT), None, False),
    ],
)
def test_imagingstudy_available(before: Any, after: Any, fires: bool) -> None:
    found = topics.match(before, after, TOPICS.values(), matches)
    assert (TOPICS["imagingstudy-available"] in found) == fires


def report(status: str = "preliminary", label: str = "AIAST") -> dict[str, Any]:
    system = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
    return {
        "resourceType": "DiagnosticReport",
        "id": "r",
        "meta": {
            "security": [{"system": system, "code": label}],
            "tag": [{"system": "urn:hutong:adapter", "code": "nodule_detection"}],
        },
        "status": status,
        "code": {"text": "CT"},
        "imagingStudy": [{"reference": "ImagingStudy/s"}],
    }


def test_ai_result_available_is_about_reports_labelled_as_ai() -> None:
    topic = TOPICS["ai-result-available"]
    assert topics.match(None, report(), [topic], matches) == [topic]
    assert topics.match(report(), report("final"), [topic], matches) == [topic]
    assert topics.match(None, report("entered-in-error"), [topic], matches) == []
    assert topics.match(None, report(label="SUBSETTED"), [topic], matches) == []
    assert topics.match(None, study(CT), [topic], matches) == []


def passes(topic: str, filters: list[str], resource: dict[str, Any]) -> bool:
    parsed = [topics.parse_filter(text, TOPICS[topic]) for text in filters]
    return topics.passes(resource, parsed, matches, lambda _, type: [study(CT)] if type == "ImagingStudy" else [])


@pytest.mark.parametrize(
    ("topic", "text", "expected"),
    [
        ("imagingstudy-available", "ImagingStudy?modality=CT", True),
        ("imagingstudy-available", "modality=CT", True),
        ("imagingstudy-available", "ImagingStudy?modality=MR,CT", True),
        ("imagingstudy-available", "ImagingStudy?modality=MR", False),
        ("imagingstudy-available", "ImagingStudy?bodysite=http://snomed.info/sct|816094009", True),
        ("imagingstudy-available", "ImagingStudy?patient=Patient/p", True),
        ("imagingstudy-available", "ImagingStudy?patient=Patient/other", False),
        ("imagingstudy-available", "ImagingStudy?modality=CT&patient=Patient/other", False),
        ("ai-result-available", "DiagnosticReport?adapter=nodule_detection", True),
        ("ai-result-available", "DiagnosticReport?adapter=other", False),
        ("ai-result-available", "ImagingStudy?modality=CT", True),
        ("ai-result-available", "ImagingStudy?modality=DX", False),
    ],
)
def test_filters(topic: str, text: str, expected: bool) -> None:
    focus = study(CT) if topic.startswith("imaging") else report()
    assert passes(topic, [text], focus) == expected


@pytest.mark.parametrize(
    "text",
    [
        "ImagingStudy?colour=red",
        "Patient?name=x",
        "ImagingStudy?",
        "modality=",
        "modality:colour=CT",
        "patient:missing=maybe",
    ],
)
def test_unknown_filters_are_refused_by_name(text: str) -> None:
    with pytest.raises(Unprocessable):
        topics.parse_filter(text, TOPICS["imagingstudy-available"])
