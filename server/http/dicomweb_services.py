"""What the DICOMweb routes need from the composition root."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request

from server.http.base_url import base_url, networks_of
from server.imaging.ingest import Ingest
from server.imaging.pixel_pool import PixelPool
from server.imaging.pixels import PixelData
from server.imaging.retrieve import Retrieve
from server.security.access import Access
from server.settings import Settings
from server.store.database import Database

PREFIX = "/dicomweb"


@dataclass(frozen=True, kw_only=True, slots=True)
class DicomWeb:
    """The use cases behind DICOMweb, and the callers' rights."""

    settings: Settings
    database: Database
    ingest: Ingest
    retrieve: Retrieve
    pool: PixelPool
    #: Frames, pictures and transcoded files.
    pixels: PixelData
    #: The caller's rights, from the request.
    access: Callable[[Request], Access]

    def __post_init__(self) -> None:
        networks_of(self.settings.trusted_proxies)

    def url(self, request: Request) -> str:
        """Where the client sees this service."""
        return base_url(request, self.settings) + PREFIX
