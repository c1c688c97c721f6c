"""What an Instance Availability Notification says of a study (PS3.4 annex R, table R.3.2-1)."""

from pydicom import Dataset

from server.store import performed_steps, study_summary
from server.store.database import Database
from server.store.study_summary import SummarySeries

_PERFORMED_STEP = "1.2.840.10008.3.1.2.3.3"


def notification(database: Database, tenant: int, study: str, *, title: str) -> Dataset | None:
    """The notification: every instance of the study is ONLINE at ``title``; None where none is stored."""
    with database.reading() as uow:
        found = study_summary.summary(uow, tenant, study)
        steps = performed_steps.completed(uow, tenant, study)
    if found is None or not found.series:
        return None
    dataset = Dataset()
    dataset.ReferencedPerformedProcedureStepSequence = [_step(step) for step in steps]
    dataset.StudyInstanceUID = study
    dataset.ReferencedSeriesSequence = [_series(series, title) for series in found.series]
    return dataset


def _step(uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = _PERFORMED_STEP
    item.ReferencedSOPInstanceUID = uid
    item.PerformedWorkitemCodeSequence = []
    return item


def _series(series: SummarySeries, title: str) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = series.series
    references = []
    for instance in series.instances:
        reference = Dataset()
        reference.ReferencedSOPClassUID = instance.sop_class
        reference.ReferencedSOPInstanceUID = instance.instance
        reference.InstanceAvailability = "ONLINE"
        reference.RetrieveAETitle = title
        references.append(reference)
    item.ReferencedSOPSequence = references
    return item
