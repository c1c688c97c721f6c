"""SubscriptionTopics as R4 Basic resources, so that clients find them by search (``Basic?code=SubscriptionTopic``).

https://hl7.org/fhir/uv/subscriptions-backport/components.html#subscription-topics-in-r4: elements that R4 has no
resource for are cross-version extensions, named after the R5 element.
"""

from collections.abc import Iterator
from typing import Any

from server.repository import Repository
from server.security.access import system

Resource = dict[str, Any]
_ELEMENT = "http://hl7.org/fhir/5.0/StructureDefinition/extension-SubscriptionTopic."
_CODE = {"system": "http://hl7.org/fhir/fhir-types", "code": "SubscriptionTopic"}
#: R5 element -> value[x] of its extension; the others are strings or have extensions of their own.
_VALUES = {
    "url": "valueUri", "status": "valueCode", "date": "valueDateTime", "description": "valueMarkdown",
    "resource": "valueUri", "supportedInteraction": "valueCode", "resultForCreate": "valueCode",
    "resultForDelete": "valueCode", "requireBoth": "valueBoolean", "filterDefinition": "valueUri",
    "modifier": "valueCode", "comparator": "valueCode",
}  # fmt: skip


def basic(topic: Resource) -> Resource:
    """A SubscriptionTopic as a Basic resource; its status modifies what it means."""
    rest = {name: value for name, value in topic.items() if name not in ("resourceType", "id", "status")}
    return {
        "resourceType": "Basic",
        "id": f"topic-{topic['id']}",
        "extension": [one for name, value in rest.items() for one in _extensions(f"{_ELEMENT}{name}", name, value)],
        "modifierExtension": [{"url": f"{_ELEMENT}status", "valueCode": topic["status"]}],
        "code": {"coding": [_CODE], "text": topic["title"]},
    }


def publish(repository: Repository, topics: list[Resource]) -> None:
    """Stores the topics as they are now; one that has not changed gets no new version."""
    with repository.transaction(system()) as transaction:
        for topic in topics:
            transaction.update(basic(topic))


def _extensions(url: str, name: str, value: Any) -> Iterator[Resource]:
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, dict):
            inner = [part for key, item in one.items() for part in _extensions(key, key, item)]
            yield {"url": url, "extension": inner}
        else:
            yield {"url": url, _VALUES.get(name, "valueString"): one}
