"""Every table, in one MetaData; a module per area. Every key leads with the tenant."""

from server.store.tables import analyses, events, imaging, resources, security
from server.store.tables.metadata import metadata

__all__ = ["analyses", "events", "imaging", "metadata", "resources", "security"]
