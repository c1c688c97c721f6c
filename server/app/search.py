"""What resources are indexed and searched by, in every process."""

from server.fhir import definitions
from server.search.find import Search
from server.settings import Settings


def search_engine(settings: Settings) -> Search:
    """What resources are indexed and searched by."""
    return Search(definitions.load(), f"{settings.base_url}/fhir" if settings.base_url else "")
