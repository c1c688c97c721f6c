"""DELETE of studies, series and instances: no part of PS3.18, but what archives and clients agree on."""

from fastapi import APIRouter, Request, Response

from server.http.dicomweb_services import DicomWeb
from server.imaging.remove import Remover


def add_routes(api: APIRouter, services: DicomWeb) -> None:
    """DELETE at each level: 204, or 404, 410 for what was deleted before, 409 for a locked study."""
    remover = Remover(services.database)

    @api.delete("/studies/{study}", status_code=204)
    def delete_study(request: Request, study: str) -> Response:
        """Deletes a study."""
        remover.remove(services.access(request), study)
        return Response(status_code=204)

    @api.delete("/studies/{study}/series/{series}", status_code=204)
    def delete_series(request: Request, study: str, series: str) -> Response:
        """Deletes a series."""
        remover.remove(services.access(request), study, series)
        return Response(status_code=204)

    @api.delete("/studies/{study}/series/{series}/instances/{instance}", status_code=204)
    def delete_instance(request: Request, study: str, series: str, instance: str) -> Response:
        """Deletes an instance."""
        remover.remove(services.access(request), study, series, instance)
        return Response(status_code=204)
