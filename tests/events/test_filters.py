"""Filters mean what search means by them, with every modifier that the topic allows."""

from typing import Any

import pytest

from server.errors import Unprocessable
from server.events import topics
from server.events.dispatch import Dispatcher
from server.events.notify import Notifier
from server.events.topics import parse_filter
from server.repository import Repository
from server.store import events
from server.store.database import Database
from tests.events.conftest import ACCESS, AVAILABLE, Listener, study
from tests.events.test_dispatch import events_of, listen

TOPIC = next(topic for topic in topics.load() if topic.url == AVAILABLE)
DCM = "http://dicom.nema.org/resources/ontology/DCM"


def value_set(*codes: str) -> dict[str, Any]:
    return {
        "resourceType": "ValueSet",
        "id": "modalities",
        "url": "http://example.org/ValueSet/modalities",
        "status": "active",
        "compose": {"include": [{"system": DCM, "concept": [{"code": code} for code in codes]}]},
    }


@pytest.mark.parametrize(
    ("text", "passing"),
    [
        ("ImagingStudy?modality=CT", ["ct", "mine"]),
        ("ImagingStudy.modality=CT", ["ct", "mine"]),
        ("modality=CT,MR", ["ct", "mr", "mine"]),
        (f"modality={DCM}|MR", ["mr"]),
        ("modality:not=CT", ["mr", "xa"]),
        ("modality:missing=true", []),
        ("modality:in=http://example.org/ValueSet/modalities", ["mr"]),
        ("modality:not-in=http://example.org/ValueSet/modalities", ["ct", "mine", "xa"]),
        ("patient=Patient/me", ["mine"]),
        ("patient:Patient=me&modality=CT", ["mine"]),
        ("identifier:missing=false", []),
    ],
)
def test_modifiers(
    database: Database, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener,
    text: str, passing: list[str],
) -> None:  # fmt: skip
    repository.update(ACCESS, value_set("MR", "US"))
    id = listen(repository, dispatcher, notifier, listener.url, text)
    for resource in (study("ct"), study("mr", "MR"), study("mine", patient="me"), study("xa", "XA")):
        repository.update(ACCESS, resource)
    dispatcher.run()
    assert [event.id for event in events_of(database, id)] == passing
    found = repository.search(ACCESS, "ImagingStudy", parse_filter(text, TOPIC).parameters)
    assert sorted(stored.id for stored in found.matches) == sorted(passing)


def test_a_filter_that_can_t_be_asked_any_more_is_told_by_status_and_stops_nobody(
    database: Database, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    repository.update(ACCESS, value_set("CT"))
    bad = listen(repository, dispatcher, notifier, listener.url, "modality:in=http://example.org/ValueSet/modalities")
    good = listen(repository, dispatcher, notifier, listener.url)
    repository.delete(ACCESS, "ValueSet", "modalities")
    repository.update(ACCESS, study("a"))
    dispatcher.queries._known.clear()
    dispatcher.run()
    assert [event.id for event in events_of(database, good)] == ["a"]
    assert events_of(database, bad) == ()
    with database.reading() as uow:
        state = events.state(uow, 1, bad)
    assert state is not None
    assert "filter" in state.last_error


@pytest.mark.parametrize(
    "text",
    ["colour=red", "modality:exact=CT", "patient.name=x", "Patient?name=x", "modality", "modality=", "_has:x:y=z"],
)
def test_what_is_refused_names_what_can_be_asked(text: str) -> None:
    with pytest.raises(Unprocessable) as caught:
        parse_filter(text, TOPIC)
    (issue,) = caught.value.issues
    assert issue.expression == "Subscription.criteria.extension"
    assert "ImagingStudy?modality" in issue.details or "modifier" in issue.details or "exact" in issue.details


def test_a_topic_may_allow_less() -> None:
    source = next(one for one in topics.sources() if one["url"] == AVAILABLE)
    strict = [{**one, "comparator": ["ge"], "modifier": ["not"]} for one in source["canFilterBy"]]
    topic = topics.read({**source, "canFilterBy": strict})
    parse_filter("modality:not=CT", topic)
    parse_filter("modality=CT", topic)
    with pytest.raises(Unprocessable, match="takes ge, not, not missing"):
        parse_filter("modality:missing=true", topic)


def test_shapes_are_read_as_the_guide_writes_them() -> None:
    shape = {
        "resource": "Encounter",
        "include": ["Encounter:patient&iterate=Patient.link"],
        "revInclude": ["Task:focus"],
    }
    topic = topics.read({"url": "http://example.org/t", "notificationShape": [shape]})
    assert topic.shape("Encounter") == (
        ("_include", "Encounter:patient"),
        ("_include:iterate", "Patient:link"),
        ("_revinclude", "Task:focus"),
    )
    assert topic.shape("Patient") == ()
