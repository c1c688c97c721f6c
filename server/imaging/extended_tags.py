"""Attributes made searchable by declaration (extended query tags): declared, indexed behind, and as instances arrive.

A declaration names an attribute, or ``Tag.Tag`` into sequences, its VR and its level. A job walks over what is stored
and enters the values from the kept headers, a batch at a time, so that it goes on where it stopped; until it is through
the attribute is not searched by. What arrives meanwhile is entered with the instance, in its transaction.
"""

from collections.abc import Iterable, Iterator

from server.imaging.person_name import groups, words
from server.store import extended_tags as store
from server.store.conditions import NAMES
from server.store.database import UnitOfWork
from server.store.extended_tags import ValueRow
from server.store.instances import PatientRow, StudyRow

#: Instances that the job looks at in one transaction.
BATCH = 500
_PATIENT_NAME, _REFERRING = NAMES["patient.name_folded"][0], NAMES["study.referring_folded"][0]


def enter_names(uow: UnitOfWork, tenant: int, patients: Iterable[PatientRow], studies: Iterable[StudyRow]) -> None:
    """Makes the names of new patients, and of new studies' referring physicians, searchable by group and word."""
    rows = [row for p in patients for row in _of_name(_PATIENT_NAME, p.name_folded, p.patient, ())]
    rows += [row for s in studies for row in _of_name(_REFERRING, s.referring_folded, s.study, ())]
    store.add_values(uow, tenant, rows)


def _of_name(tag: int, folded: str, entity: str, items: tuple[str, ...]) -> Iterator[ValueRow]:
    if folded:
        yield ValueRow(tag=tag, kind="v", value=folded, entity=entity, items=items)
    for kind, found in (("g", groups(folded)), ("w", words(folded))):
        for value in found:
            yield ValueRow(tag=tag, kind=kind, value=value, entity=entity, items=items)
