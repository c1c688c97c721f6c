"""Findings to bytes and back, without loss; anything else is refused with its place."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicom_sr.errors import UnreadableReport, UnwritableFindings
from dicom_sr.findings import Findings
from dicom_sr.serialise import deserialise, serialise
from tests.dicom_sr.examples import findings, two_nodules
from tests.dicom_sr.strategies import reports


def meanings(report: Findings) -> list[str]:
    return [finding.finding.meaning for finding in report.findings]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(reports())
def test_round_trip(report: Findings) -> None:
    again = deserialise(serialise(report))
    assert again == report
    assert meanings(again) == meanings(report)
    assert again.timestamp.utcoffset() == report.timestamp.utcoffset()
    assert serialise(again) == serialise(report)


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        (["version"], 2, "version"),
        (["format"], "other", "format"),
        (["findings"], None, "findings"),
        (["findings", "key"], 7, "findings.key"),
        (["findings", "timestamp"], "yesterday", "findings.timestamp"),
        (["findings", "surprise"], 1, "findings.surprise"),
        (["findings", "sources"], {}, "findings.sources"),
        (["findings", "findings", 0, "center_mm"], [1.0, 2.0], "findings.findings[0].center_mm"),
        (["findings", "findings", 0, "confidence"], True, "findings.findings[0].confidence"),
        (["findings", "findings", 0, "mask", "bits"], "***", "findings.findings[0].mask.bits"),
    ],
)
def test_what_is_no_findings_names_the_place(path: list[Any], value: object, place: str) -> None:
    document = json.loads(serialise(two_nodules()))
    target = document
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    with pytest.raises(UnreadableReport) as caught:
        deserialise(json.dumps(document).encode())
    assert caught.value.place == place


def test_a_missing_attribute_is_refused() -> None:
    document = json.loads(serialise(findings()))
    del document["findings"]["key"]
    with pytest.raises(UnreadableReport, match="no whole Findings"):
        deserialise(json.dumps(document).encode())


@given(st.binary(max_size=40) | st.text('[{}]"1,:', max_size=40).map(str.encode))
def test_any_bytes_are_findings_or_refused(body: bytes) -> None:
    with pytest.raises(UnreadableReport):
        deserialise(body)


def test_what_json_cannot_say_is_refused() -> None:
    first = two_nodules().findings[0]
    endless = findings(replace(first, confidence=float("nan")))
    with pytest.raises(UnwritableFindings):
        serialise(endless)
    with pytest.raises(UnwritableFindings, match="time zone"):
        serialise(replace(findings(), timestamp=findings().timestamp.replace(tzinfo=None)))
