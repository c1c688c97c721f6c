"""Finds the studies that have been quiet long enough: a study is complete when nobody adds to it any more."""

from server.store import study_summary
from server.store.database import Database

#: The job that a quiet study causes; its arguments are ``tenant`` and ``study``.
STUDY_CHANGED = "study-changed"


def sweep(database: Database, quiet: float) -> int:
    """Defers STUDY_CHANGED for each study that changed and was then left alone for ``quiet`` seconds; how many.

    The mark and the job commit together. Several sweepers at once are safe.
    """
    with database.unit_of_work() as uow:
        due = study_summary.take_due(uow, quiet)
        for tenant, study in due:
            uow.defer(STUDY_CHANGED, lock=f"study/{tenant}/{study}", tenant=tenant, study=study)
    return len(due)
