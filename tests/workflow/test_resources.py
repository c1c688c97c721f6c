"""Everything the way writes passes a second opinion's models, and every reference leads to something."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class

from server.events import notification
from server.fhir import instants, json_format
from server.store.events import Event, SubscriptionState
from tests.workflow.conftest import ACCESS, House, ct

KINDS = (
    "Patient", "ImagingStudy", "Task", "Device", "BodyStructure", "Observation", "DiagnosticReport", "Provenance",
    "CarePlan", "ServiceRequest",
)  # fmt: skip


def references(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for item in value.values():
            yield from references(item)


def plain(resource: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json_format.write(resource)))


def test_models_and_references(house: House) -> None:
    house.receive(ct())
    house.settle()
    found = {kind: house.search(kind) for kind in KINDS}
    for kind, resources in found.items():
        assert resources, kind
        for resource in resources:
            get_fhir_model_class(kind).model_validate(plain(resource))
            for reference in references(resource):
                type, _, id = reference.partition("/")
                assert house.repository.read(ACCESS, type, id)["id"] == id


@pytest.mark.parametrize("content", ["empty", "id-only", "full-resource"])
def test_notifications(content: str) -> None:
    state = SubscriptionState(
        id="s", version=1, status="active", topic="http://example.org/topic", filters="", handshaken=True,
        events=2, delivered=1, failures=0, last_error="The endpoint answered 500.", channel="rest-hook", heartbeat=None,
        told=None,
    )  # fmt: skip
    focus = {"resourceType": "Patient", "id": "p", "meta": {"versionId": "1"}}
    context = {"resourceType": "Organization", "id": "o", "name": "Ward"}
    event = Event(
        number=2, topic=state.topic, type="Patient", id="p", version=1, interaction="create", recorded=instants.now()
    )
    bundle = notification.bundle(
        state, "event-notification", base="http://example.org/fhir", events=[event], content=content,
        resources={2: (focus, [context])} if content == "full-resource" else {},
    )  # fmt: skip
    get_fhir_model_class("Bundle").model_validate(plain(bundle))
    wrapped = notification.message(bundle, state.topic, source="http://example.org/fhir", destination="http://b.org")
    get_fhir_model_class("Bundle").model_validate(plain(wrapped))
