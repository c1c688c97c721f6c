"""Filters mean what search means by them, with every modifier that the topic allows."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import Unprocessable
from server.events import topics
from server.events.dispatch import Dispatcher
from server.events.notify import Notifier
from server.events.subscriptions import checking
from server.events.topics import parse_filter
from server.outbound.guard import Guard
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


@given(st.text(st.sampled_from("modalitypatientImagingStudy?.:=&,|CT/ -%0"), max_size=60))
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    with suppress(Unprocessable):
        found = parse_filter(text, TOPIC)
        assert found.parameters
        assert found.resource == "ImagingStudy"


def declared(**more: Any) -> dict[str, Any]:
    """A search parameter of somebody's own: the number of series."""
    return {
        "resourceType": "SearchParameter",
        "id": "series",
        "url": "http://example.org/SearchParameter/series",
        "name": "series",
        "description": "How many series",
        "status": "active",
        "code": "series-count",
        "base": ["ImagingStudy"],
        "type": "number",
        "expression": "ImagingStudy.numberOfSeries",
        **more,
    }


def test_a_topic_may_be_filtered_by_a_declared_search_parameter(
    database: Database, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    source = next(one for one in topics.sources() if one["url"] == AVAILABLE)
    own = {
        "resource": "ImagingStudy", "filterParameter": "series-count", "filterDefinition": declared()["url"],
        "comparator": ["ge"],
    }  # fmt: skip
    known = (topics.read({**source, "canFilterBy": [*source["canFilterBy"], own]}),)
    repository.checks = (checking(known, Guard(loopback=True)),)
    dispatcher = replace(dispatcher, topics=known)
    notifier = replace(notifier, topics=known)
    with pytest.raises(Unprocessable) as caught:
        listen(repository, dispatcher, notifier, listener.url, "series-count=ge3")
    assert "'series-count' is no search parameter of ImagingStudy" in caught.value.issues[0].details
    repository.update(ACCESS, declared())
    # Nothing has indexed by it yet: a filter is asked of what is written, not of what is stored.
    id = listen(repository, dispatcher, notifier, listener.url, "series-count=ge3")
    with pytest.raises(Unprocessable, match="takes ge, not le"):
        parse_filter("series-count=le3", known[0])
    for name, count in (("few", 2), ("many", 3), ("more", 4)):
        repository.update(ACCESS, {**study(name), "numberOfSeries": count})
    dispatcher.run()
    assert [event.id for event in events_of(database, id)] == ["many", "more"]
    repository.update(ACCESS, declared(status="retired"))
    repository.update(ACCESS, {**study("late"), "numberOfSeries": 5})
    dispatcher.run()
    assert [event.id for event in events_of(database, id)] == ["many", "more"]
    with database.reading() as uow:
        state = events.state(uow, 1, id)
    assert state is not None and "filter" in state.last_error


@pytest.mark.parametrize("text", ["patient.name=x", "ImagingStudy?patient.name=x", "_has:Task:focus:status=ready"])
def test_chains_are_refused_with_what_to_do_instead(text: str) -> None:
    with pytest.raises(Unprocessable, match=r"Chains and _has are no filters.*Filter by the topic's own"):
        parse_filter(text, TOPIC)
