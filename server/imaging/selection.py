"""What the identifier of a C-MOVE or C-GET selects: unique keys and nothing else (PS3.4 C.4.2.2.1, C.4.3.2.1)."""

import re

from server.errors import BadRequest
from server.imaging import attributes as read
from server.imaging.dataset import Attributes
from server.security.access import Access
from server.store import audit
from server.store import selection as store
from server.store.database import Database
from server.store.selection import Selection
from server.store.studies import Located

#: Level -> keyword and tag of its unique key (PS3.4 C.6.1.1).
KEYS = {
    "PATIENT": ("PatientID", "00100020"),
    "STUDY": ("StudyInstanceUID", "0020000D"),
    "SERIES": ("SeriesInstanceUID", "0020000E"),
    "IMAGE": ("SOPInstanceUID", "00080018"),
}
_UID = re.compile(r"[0-9.]{1,64}", re.ASCII)


def parse(level: str, identifier: Attributes) -> Selection:
    """The unique keys; raises BadRequest for one that is missing, or no UID."""
    keyword, tag = KEYS[level]
    if not read.text(identifier, tag):
        raise BadRequest(f"A retrieval at the {level} level needs {keyword}.", expression=keyword)
    given = list(KEYS)[: list(KEYS).index(level) + 1]
    return Selection(
        patient=_patient(identifier),
        issuer=read.text(identifier, "00100021"),
        studies=_uids("STUDY", given, identifier),
        series=_uids("SERIES", given, identifier),
        instances=_uids("IMAGE", given, identifier),
    )


def select(database: Database, access: Access, level: str, identifier: Attributes) -> list[Located]:
    """The instances, in order; one audit row for all. Raises BadRequest, Forbidden."""
    access.require("read")
    selection = parse(level, identifier)
    named = {"PATIENT": "", "STUDY": selection.studies, "SERIES": selection.series, "IMAGE": selection.instances}[level]
    with database.unit_of_work() as uow:
        found = store.select(uow, access.tenant, selection)
        audit.note_read(uow, access.tenant, access.who, "read", level.title(), named[0] if named else "")
    return found


def _patient(identifier: Attributes) -> str:
    number = read.text(identifier, "00100020")
    if "*" in number or "?" in number or len(read.values(identifier, "00100020")) > 1:
        raise BadRequest("A retrieval needs one whole PatientID.", expression="PatientID")
    return number


def _uids(level: str, given: list[str], identifier: Attributes) -> tuple[str, ...]:
    keyword, tag = KEYS[level]
    uids = tuple(str(uid) for uid in read.values(identifier, tag) if uid) if level in given else ()
    if not all(_UID.fullmatch(uid) for uid in uids):
        raise BadRequest(f"{keyword} must be a UID or a list of UIDs.", expression=keyword)
    return uids
