"""Topics of the operator's own fire, filter and are found like those of the house."""

import json
from pathlib import Path
from typing import Any

import pytest

from server.errors import BadRequest
from server.events import topics
from server.events.dispatch import Dispatcher
from server.events.notify import Notifier
from server.events.subscriptions import checking
from server.events.topic_folder import every
from server.outbound.guard import Guard
from server.repository import Repository
from server.store.database import Database
from tests.events.conftest import ACCESS, Listener, subscription

URL = "https://region.example/SubscriptionTopic/encounter-complete"


def topic(**more: Any) -> dict[str, Any]:
    """The guide's example, as R4B writes it."""
    criteria = {
        "previous": "status:not=finished", "resultForCreate": "test-passes", "current": "status=finished",
        "resultForDelete": "test-fails", "requireBoth": True,
    }  # fmt: skip
    expression = "(%previous.id.empty() or (%previous.status != 'finished')) and (%current.status = 'finished')"
    trigger = {
        "resource": "Encounter", "supportedInteraction": ["create", "update"], "queryCriteria": criteria,
        "fhirPathCriteria": expression,
    }  # fmt: skip
    return {
        "resourceType": "SubscriptionTopic",
        "id": "encounter-complete",
        "url": URL,
        "title": "Encounter complete",
        "status": "active",
        "resourceTrigger": [trigger],
        "canFilterBy": [
            {"resource": "Encounter", "filterParameter": "subject"},
            {"resource": "Encounter", "filterParameter": "length", "modifier": ["gt", "lt", "ge", "le"]},
        ],
        "notificationShape": [{"resource": "Encounter", "include": ["Encounter:patient&iterate=Patient.link"]}],
        **more,
    }


def written(folder: Path, resource: Any) -> str:
    (folder / "topic.json").write_text(resource if isinstance(resource, str) else json.dumps(resource))
    return str(folder)


def encounter(id: str, status: str, hours: int = 1) -> dict[str, Any]:
    return {
        "resourceType": "Encounter",
        "id": id,
        "status": status,
        "class": {"code": "AMB"},
        "subject": {"reference": "Patient/p"},
        "length": {"value": hours, "unit": "h", "system": "http://unitsofmeasure.org", "code": "h"},
    }


def test_it_fires_and_filters(
    tmp_path: Path, database: Database, repository: Repository, notifier: Notifier, listener: Listener
) -> None:
    known = tuple(topics.read(source) for source in every(written(tmp_path, topic())))
    repository.checks = (checking(known, Guard(loopback=True)),)
    dispatcher = Dispatcher(database=database, repository=repository, topics=known, answers={})
    teller = Notifier(**{**vars(notifier), "topics": known})
    id = str(repository.create(ACCESS, {**subscription(listener.url, "length=gt2"), "criteria": URL}).resource["id"])
    dispatcher.run()
    teller.run(1, id)
    dispatcher.run()
    for one in (
        encounter("e", "in-progress", 3),
        encounter("e", "finished", 3),
        encounter("e", "finished", 4),
        encounter("short", "finished"),
        encounter("new", "finished", 5),
    ):
        repository.update(ACCESS, one)
    dispatcher.run()
    teller.run(1, id)
    focuses = [bundle["entry"][1]["fullUrl"].rpartition("/")[2] for bundle in listener.bundles[1:]]
    assert focuses == ["e", "new"]


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        (topic(resourceTrigger=[{"resource": "Enkounter"}]), "Enkounter"),
        (topic(resourceTrigger=[]), "resourceTrigger"),
        (topic(resourceTrigger=[{"resource": "Encounter", "queryCriteria": {"current": "colour=red"}}]), "colour"),
        (topic(resourceTrigger=[{"resource": "Encounter", "fhirPathCriteria": "%current."}]), "topic.json"),
        (topic(canFilterBy=[{"resource": "Encounter", "filterParameter": "colour"}]), "colour"),
        (topic(canFilterBy=[{"filterParameter": "subject"}]), "resource"),
        (topic(canFilterBy=[{"resource": "Enkounter", "filterParameter": "x", "filterDefinition": "urn:x"}]), "Enk"),
        (topic(notificationShape=[{"resource": "Encounter", "include": ["Encounter:colour"]}]), "colour"),
        (topic(title=""), "title"),
        (topic(url=topics.load()[0].url), "already"),
        ("{", "no JSON"),
    ],
)
def test_what_can_t_be_asked_is_named(tmp_path: Path, resource: Any, said: str) -> None:
    with pytest.raises(BadRequest, match=said) as caught:
        every(written(tmp_path, resource))
    assert caught.value.issues[0].expression == "topics"


def test_a_filter_may_be_declared_later(tmp_path: Path) -> None:
    own = {"resource": "Encounter", "filterParameter": "ward", "filterDefinition": "http://example.org/SP/ward"}
    (item,) = topics.read(every(written(tmp_path, topic(canFilterBy=[own])))[-1]).filters
    assert (item.code, item.declared) == ("ward", True)


def test_no_folder_and_other_files(tmp_path: Path) -> None:
    with pytest.raises(BadRequest):
        every(str(tmp_path / "absent"))
    (tmp_path / "patient.json").write_text('{"resourceType": "Patient"}')
    assert len(every(str(tmp_path))) == len(every(""))
