"""DICOMweb (PS3.18): the routes of the studies service, under ``/dicomweb``."""

from collections.abc import Sequence

from fastapi import APIRouter

from server.http import (
    dicomweb_bulkdata,
    dicomweb_delete,
    dicomweb_extended_tags,
    dicomweb_frames,
    dicomweb_lock,
    dicomweb_metadata,
    dicomweb_options,
    dicomweb_query,
    dicomweb_rendered,
    dicomweb_retrieve,
    dicomweb_store,
)
from server.http.dicomweb_route import DicomWebRoute
from server.http.dicomweb_services import PREFIX, DicomWeb


def router(services: DicomWeb, others: Sequence[APIRouter] = ()) -> APIRouter:
    """All routes of the studies service; its capabilities are also those of ``others``, e.g. the Worklist Service."""
    api = APIRouter(prefix=PREFIX, route_class=DicomWebRoute, tags=["DICOMweb"])
    dicomweb_store.add_routes(api, services)
    dicomweb_query.add_routes(api, services)
    dicomweb_metadata.add_routes(api, services)
    dicomweb_retrieve.add_routes(api, services)
    dicomweb_bulkdata.add_routes(api, services)
    dicomweb_frames.add_routes(api, services)
    dicomweb_rendered.add_routes(api, services)
    dicomweb_delete.add_routes(api, services)
    dicomweb_lock.add_routes(api, services)
    dicomweb_extended_tags.add_routes(api, services)
    dicomweb_options.add_routes(api, services, others)
    return api
