"""Clients find the topics by search, each with everything that the topic says."""

from typing import Any

from server.events import discovery, topics
from server.fhir import definitions
from server.fhir.validate import validate
from server.repository import Repository
from tests.events.conftest import ACCESS

CODE = "http://hl7.org/fhir/fhir-types|SubscriptionTopic"


def found(repository: Repository) -> list[dict[str, Any]]:
    page = repository.search(ACCESS, "Basic", [("code", CODE)])
    return [repository.read(ACCESS, "Basic", stored.id) for stored in page.matches]


def test_the_topics_are_found_and_sound(repository: Repository) -> None:
    sources = topics.sources()
    discovery.publish(repository, sources)
    resources = found(repository)
    assert {extension(one, "url")["valueUri"] for one in resources} == {source["url"] for source in sources}
    for resource in resources:
        assert [issue for issue in validate(definitions.load(), resource) if issue.severity != "information"] == []
    discovery.publish(repository, sources)
    assert {resource["meta"]["versionId"] for resource in found(repository)} == {"1"}


def test_nothing_of_a_topic_is_left_out() -> None:
    source = next(one for one in topics.sources() if one["id"] == "ai-result-available")
    resource = discovery.basic(source)
    filters = [one for one in resource["extension"] if one["url"].endswith("canFilterBy")]
    assert len(filters) == len(source["canFilterBy"])
    names = [part["valueString"] for one in filters for part in one["extension"] if part["url"] == "filterParameter"]
    assert names == [one["filterParameter"] for one in source["canFilterBy"]]
    trigger = extension(resource, "resourceTrigger")
    criteria = next(part for part in trigger["extension"] if part["url"] == "queryCriteria")
    current = next(part for part in criteria["extension"] if part["url"] == "current")
    assert current["valueString"] == source["resourceTrigger"][0]["queryCriteria"]["current"]
    assert resource["modifierExtension"][0]["valueCode"] == "active"


def extension(resource: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in resource["extension"] if one["url"].endswith(f"SubscriptionTopic.{name}"))
