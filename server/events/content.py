"""What goes along with events under full-resource content: the focus, and what the topic's shape adds to it.

https://hl7.org/fhir/R4B/subscriptiontopic.html (notificationShape)
"""

from collections.abc import Iterable
from typing import Any

from server.errors import Forbidden, Gone, NotFound
from server.events.notification import Content
from server.events.topics import Topic
from server.fhir import json_format
from server.repository import Transaction
from server.store.events import Event

Resource = dict[str, Any]


def content_of(transaction: Transaction, topic: Topic, events: Iterable[Event]) -> Content:
    """By event number the focus, in the version that made the event, and its context, as it stands now.

    What the transaction's Access may not see is left out.
    """
    return {event.number: (_focus(transaction, event), _context(transaction, topic, event)) for event in events}


def _focus(transaction: Transaction, event: Event) -> Resource | None:
    try:
        return json_format.parse(transaction.vread(event.type, event.id, str(event.version)).body)
    except (NotFound, Gone, Forbidden):
        # A delete has no resource; nor has what the subscriber may not see.
        return None


def _context(transaction: Transaction, topic: Topic, event: Event) -> list[Resource]:
    includes = topic.shape(event.type)
    if not includes or event.interaction == "delete":
        return []
    try:
        found = transaction.search(event.type, [("_id", event.id), *includes])
    except (NotFound, Gone, Forbidden):
        return []
    return [json_format.parse(one.body) for one in found.included]
