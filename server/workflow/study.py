"""A study that has become quiet: its ImagingStudy is brought up to date, and reports that nobody read are read."""

from dataclasses import dataclass

from server.errors import NotFound
from server.imaging.imaging_study import ImagingStudies
from server.security.access import system
from server.store import analyses
from server.store.database import Database
from server.workflow.availability import Announcer
from server.workflow.fetch import Fetcher
from server.workflow.foreign_report import SR_RECEIVED
from server.workflow.forward import Forwarder
from server.workflow.images import KEY_OBJECT_SELECTION, STRUCTURED_REPORT


@dataclass(frozen=True, kw_only=True)
class StudyKeeper:
    """Everything that the job study-changed needs."""

    database: Database
    studies: ImagingStudies
    forwarder: Forwarder
    announcer: Announcer
    fetcher: Fetcher

    def run(self, tenant: int, study: str) -> None:
        """Writes the ImagingStudy, or deletes it with the last instance.

        Queues what the rules send on, and defers a job for each SR whose findings are not known.
        """
        try:
            resource = self.studies.update(system(tenant), study).resource
        except NotFound:
            self.studies.withdraw(system(tenant), study)
            return
        self.forwarder.quiet(tenant, study)
        self.announcer.quiet(tenant, study)
        self.fetcher.quiet(tenant, study)
        reports = [
            instance["uid"]
            for series in resource.get("series", ())
            for instance in series.get("instance", ())
            if STRUCTURED_REPORT in (sop_class := instance["sopClass"]["code"])
            and not sop_class.endswith(KEY_OBJECT_SELECTION)
        ]
        if not reports:
            return
        with self.database.unit_of_work() as uow:
            known = analyses.known_reports(uow, tenant, reports)
            for instance in reports:
                if instance not in known:
                    uow.defer(
                        SR_RECEIVED, lock=f"report/{tenant}/{instance}", tenant=tenant, study=study,
                        imaging_study=resource["id"], instance=instance,
                    )  # fmt: skip
