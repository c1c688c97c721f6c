"""Topics of the operator's own: a folder of SubscriptionTopic resources in JSON, as R4B and R5 write them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from server.errors import BadRequest, HutongError
from server.events.topics import Topic, Trigger, parse_filter, read, sources
from server.fhir import definitions
from server.fhir.fhirpath import compile_expression
from server.search.read import read as read_query

Resource = dict[str, Any]


def every(folder: str) -> list[Resource]:
    """The SubscriptionTopics of the house, then those of a folder; BadRequest for one that can't be asked."""
    found = sources()
    if not folder:
        return found
    known = {topic["url"] for topic in found}
    for name, resource in _files(Path(folder)):
        try:
            topic = read(resource)
            if topic.url in known:
                raise BadRequest(f"There is a topic {topic.url} already.")
            _check(topic)
            _check_own(resource)
        except (HutongError, KeyError, TypeError, AttributeError) as error:
            details = error.details if isinstance(error, HutongError) else f"{type(error).__name__} {error}"
            raise BadRequest(f"{name} is no topic that can be asked: {details}", expression="topics") from error
        known.add(topic.url)
        found.append(resource)
    return found


def _files(folder: Path) -> Iterator[tuple[str, Resource]]:
    if not folder.is_dir():
        raise BadRequest(f"The setting topics names no folder: {folder}.", expression="topics")
    for file in sorted(folder.glob("*.json")):
        try:
            resource = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise BadRequest(f"{file.name} is no JSON: {error}.", expression="topics") from error
        if isinstance(resource, dict) and resource.get("resourceType") == "SubscriptionTopic":
            yield file.name, resource


def _check_own(resource: Resource) -> None:
    """What clients find it by."""
    for name in ("id", "url", "title", "status"):
        if not isinstance(resource.get(name), str) or not resource[name]:
            raise BadRequest(f"it has no {name}.")


def _check(topic: Topic) -> None:
    """Refuses what would fail on every change: unknown types, parameters, expressions."""
    if not topic.triggers:
        raise BadRequest("it has no resourceTrigger.")
    for trigger in topic.triggers:
        _check_trigger(trigger)
    for item in topic.filters:
        if not definitions.load().is_resource(item.resource):
            raise BadRequest(f"'{item.resource}' is no resource type of FHIR R4.")
        # What any value of it looks like does not matter here, only that there is such a parameter; one that a
        # SearchParameter declares may come later, and for each tenant by itself.
        if item.declared:
            continue
        parse_filter(f"{item.resource}?{item.name}:missing=true", _free(topic))
    for shape in topic.shapes:
        read_query(definitions.load(), shape.resource, shape.includes)


def _free(topic: Topic) -> Topic:
    """The topic as if it allowed every modifier."""
    return replace(topic, filters=tuple(replace(item, modifiers=frozenset()) for item in topic.filters))


def _check_trigger(trigger: Trigger) -> None:
    known = definitions.load()
    if not known.is_resource(trigger.resource):
        raise BadRequest(f"'{trigger.resource}' is no resource type of FHIR R4.")
    for query in (trigger.previous, trigger.current):
        if query is not None:
            read_query(known, trigger.resource, query)
    if trigger.expression:
        compile_expression(trigger.expression)
