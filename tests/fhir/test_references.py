"""Links are rewritten where they are links, and nowhere else."""

from typing import Any

import pytest

from server.errors import Unprocessable
from server.fhir.definitions import load
from server.fhir.references import references, rewritten

R4 = load()
OLD, NEW = "urn:uuid:1", "Patient/1"
RESOURCE: dict[str, Any] = {
    "resourceType": "Observation",
    "identifier": [{"system": OLD, "value": OLD}],
    "subject": {"reference": OLD, "display": OLD},
    "performer": [{"reference": "urn:uuid:2"}, {"reference": OLD}],
    "instantiatesCanonical": OLD,
    "text": {"status": "generated", "div": f"<div><a href='{OLD}'>{OLD}</a><img src=\"x.png\"/></div>"},
    "contained": [{"resourceType": "Provenance", "target": [{"reference": OLD}]}],
    "extension": [{"url": "http://x", "valueReference": {"reference": OLD}}, {"url": "http://y", "valueString": OLD}],
    "component": [{"extension": [{"url": "http://z", "valueUri": OLD}]}],
    "note": [{"authorReference": {"reference": OLD}, "text": OLD}],
}


def test_links_are_rewritten_by_the_type_of_their_element() -> None:
    found = rewritten(R4, RESOURCE, {OLD: NEW}.get)
    assert found["subject"] == {"reference": NEW, "display": OLD}
    assert found["performer"] == [{"reference": "urn:uuid:2"}, {"reference": NEW}]
    # The system of an Identifier is a uri; its value is not.
    assert found["identifier"] == [{"system": NEW, "value": OLD}]
    assert found["text"]["div"] == f'<div><a href="{NEW}">{OLD}</a><img src="x.png"/></div>'
    assert found["contained"][0]["target"] == [{"reference": NEW}]
    assert found["extension"][0]["valueReference"] == {"reference": NEW}
    assert found["extension"][1]["valueString"] == OLD
    assert found["component"][0]["extension"][0]["valueUri"] == NEW
    assert found["note"] == [{"authorReference": {"reference": NEW}, "text": OLD}]


def test_the_original_is_left_alone() -> None:
    before = repr(RESOURCE)
    rewritten(R4, RESOURCE, {OLD: NEW}.get)
    assert repr(RESOURCE) == before


def test_references_lists_every_literal_one() -> None:
    assert sorted(references(R4, RESOURCE)) == sorted([OLD, "urn:uuid:2", OLD, OLD, OLD, OLD])


def test_depth_is_refused_not_a_crash() -> None:
    extension: dict[str, Any] = {"url": "http://a", "valueBoolean": True}
    for _ in range(5000):
        extension = {"url": "http://a", "extension": [extension]}
    with pytest.raises(Unprocessable):
        rewritten(R4, {"resourceType": "Basic", "extension": [extension]}, lambda _text: None)
