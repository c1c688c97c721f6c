"""Follow-ups whose time is over: the clock finds them, subscribers hear of each once."""

from datetime import date, timedelta
from typing import Any

import pytest

from server.events.dispatch import Dispatcher
from server.events.notify import Notifier
from server.repository import Repository
from server.security.access import system
from server.store import events
from server.workflow import measure, pathway
from server.workflow.periodic import Timekeeper
from tests.events.conftest import ACCESS, Listener, subscription

Resource = dict[str, Any]

TOPIC = "https://hutong.example/fhir/SubscriptionTopic/followup-overdue"
SYSTEM = "https://hutong.example/fhir/CodeSystem/lung-nodule"
DAY = 86_400.0


def ago(days: int) -> str:
    return (date.today() - timedelta(days=days)).isoformat()


def request(id: str, last: str, **more: Any) -> Resource:
    return {
        "resourceType": "ServiceRequest", "id": id, "status": "draft", "intent": "proposal", "priority": "routine",
        "subject": {"reference": "Patient/p"}, "occurrencePeriod": {"start": "2020-01-01", "end": last},
        "code": {"coding": [{"system": SYSTEM, "code": "chest-ct"}], "text": "CT in 6 months"}, **more,
    }  # fmt: skip


def tasks(repository: Repository) -> dict[str, Resource]:
    """Identifier -> Task."""
    found = [repository.read(ACCESS, "Task", one.id) for one in repository.search(ACCESS, "Task", []).matches]
    return {one["identifier"][0]["value"]: one for one in found}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def settle(dispatcher: Dispatcher, notifier: Notifier, repository: Repository) -> None:
    told = True
    while dispatcher.run() or told:
        with repository.database.reading() as uow:
            due = list(events.due(uow))
        told = bool(due)
        for one in due:
            notifier.run(one.tenant, one.id)


def test_each_overdue_follow_up_is_told_once(
    repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    repository.create(ACCESS, subscription(listener.url, criteria=TOPIC))
    settle(dispatcher, notifier, repository)
    repository.update(ACCESS, {"resourceType": "Practitioner", "id": "dr"})
    repository.update(ACCESS, request("late", ago(3), status="active", requester={"reference": "Practitioner/dr"}))
    for id, last, status in (("today", ago(0), "draft"), ("done", ago(3), "completed"), ("off", ago(3), "revoked")):
        repository.update(ACCESS, request(id, last, status=status))
    clock = Clock()
    keeper = Timekeeper(repository=repository, pathways=pathway.load(), clock=clock)
    assert keeper.run() == 1
    settle(dispatcher, notifier, repository)
    (task,) = tasks(repository).values()
    assert (task["status"], task["focus"]) == ("requested", {"reference": "ServiceRequest/late"})
    assert (task["for"], task["owner"]) == ({"reference": "Patient/p"}, {"reference": "Practitioner/dr"})
    assert task["description"] == f"Overdue since {ago(3)}: CT in 6 months"
    assert listener.kinds() == ["handshake", "event-notification"] and listener.numbers() == [1]
    # Within the period of the plan nothing is looked for; after it nothing is told again, whoever looks.
    repository.update(ACCESS, request("later", ago(1)))
    assert keeper.run() == 0
    clock.now += DAY
    assert keeper.run() == 1
    assert Timekeeper(repository=repository, pathways=pathway.load()).run() == 0
    settle(dispatcher, notifier, repository)
    assert set(tasks(repository)) == {f"late {ago(3)}", f"later {ago(1)}"}
    assert listener.numbers() == [1, 2]


def test_what_a_person_made_of_it_stays(repository: Repository) -> None:
    repository.update(ACCESS, request("late", ago(3)))
    repository.update(ACCESS, request("gone", ago(3)))

    def look() -> int:
        return Timekeeper(repository=repository, pathways=pathway.load()).run()

    assert look() == 2
    told = tasks(repository)
    repository.update(ACCESS, {**told[f"late {ago(3)}"], "status": "rejected"})
    repository.delete(ACCESS, "Task", told[f"gone {ago(3)}"]["id"])
    repository.update(ACCESS, request("late", ago(3), status="active"))
    look()
    assert {name: one["status"] for name, one in tasks(repository).items()} == {f"late {ago(3)}": "rejected"}
    # Moved, and overdue again: that is told anew.
    repository.update(ACCESS, request("late", ago(1)))
    assert look() == 1
    assert set(tasks(repository)) == {f"late {ago(3)}", f"late {ago(1)}"}


def test_a_tenant_that_cannot_be_looked_at_keeps_no_other_from_being_told(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.update(ACCESS, request("first", ago(4)))
    repository.update(ACCESS, request("second", ago(3)))
    other = system(ACCESS.tenant + 1)
    repository.update(other, request("late", ago(3)))
    # More requests than a measure looks at.
    monkeypatch.setattr(measure, "MOST", 1)
    assert Timekeeper(repository=repository, pathways=pathway.load()).run() == 1
    assert len(repository.search(other, "Task", []).matches) == 1
    assert not repository.search(ACCESS, "Task", []).matches
