"""_summary and _elements."""

from typing import Any

from server.fhir.definitions import load
from server.fhir.subset import subset

R4 = load()
BUNDLE: dict[str, Any] = {
    "resourceType": "CapabilityStatement",
    "id": "1",
    "meta": {"versionId": "1"},
    "status": "active",
    "date": "2024",
    "kind": "instance",
    "fhirVersion": "4.0.1",
    "format": ["json"],
    "text": {"status": "empty", "div": "<div>x</div>"},
    "purpose": "none",
    "rest": [{"mode": "server", "documentation": "x", "resource": [{"type": "Patient", "versioning": "versioned"}]}],
}


def test_summary_keeps_what_is_marked_at_every_depth() -> None:
    found = subset(R4, BUNDLE, summary="true")
    assert "purpose" not in found and "text" not in found
    assert found["rest"] == [{"mode": "server", "resource": [{"type": "Patient"}]}]
    assert found["meta"]["tag"] == [
        {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
    ]


def test_text_data_and_elements() -> None:
    text = subset(R4, BUNDLE, summary="text")
    # What is mandatory stays, so that the part is a valid resource.
    assert set(text) == {"resourceType", "id", "meta", "text", "status", "date", "kind", "fhirVersion", "format"}
    assert "text" not in subset(R4, BUNDLE, summary="data")
    assert "purpose" in subset(R4, BUNDLE, elements=("purpose",))
    assert subset(R4, BUNDLE) is BUNDLE
