"""Every table, in one MetaData; a module per area. Every key leads with the tenant."""

from server.store.tables import (
    analyses,
    archive,
    bulk,
    closures,
    definitions,
    events,
    extended_tags,
    fetching,
    forwarding,
    imaging,
    performed_step,
    resources,
    reviews,
    search_parameters,
    security,
    terminology,
    workitems,
)
from server.store.tables.metadata import metadata

__all__ = [
    "analyses",
    "archive",
    "bulk",
    "closures",
    "definitions",
    "events",
    "extended_tags",
    "fetching",
    "forwarding",
    "imaging",
    "metadata",
    "performed_step",
    "resources",
    "reviews",
    "search_parameters",
    "security",
    "terminology",
    "workitems",
]
