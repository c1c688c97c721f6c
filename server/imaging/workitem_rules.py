"""What a workitem must have to be created, may have changed, and must have to end (PS3.4 table CC.2.5-3)."""

import re
from datetime import datetime

from pydicom.datadict import keyword_for_tag

from server.errors import BadRequest
from server.imaging import attributes as read
from server.imaging.dataset import Attributes
from server.imaging.query_keys import tag_of, vr_of
from server.imaging.workitem import (
    CANCELED,
    CANCELLATION_TIME,
    COMPLETED,
    DISCONTINUATION,
    LABEL,
    MODIFIED,
    OUTPUT,
    PERFORMED,
    PERFORMED_CODE,
    PERFORMED_END,
    PERFORMED_START,
    PERFORMED_STATION,
    PRIORITY,
    PROGRESS,
    READINESS,
    SCHEDULED,
    SOP_CLASS,
    SOP_INSTANCE,
    START,
    STATE,
    TRANSACTION_UID,
    UPS_PUSH,
    WORKLIST_LABEL,
    date_time,
    element,
)
from server.imaging.workitem_state import Inconsistent

_UID = re.compile(r"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))+", re.ASCII)
#: The columns of N-CREATE: type 1 of the user.
NEEDED = {PRIORITY: "CS", LABEL: "LO", START: "DT", READINESS: "CS", STATE: "CS"}
#: Type 2 of the user, by keyword: there, with or without a value.
_KNOWN = [
    "ScheduledProcessingParametersSequence",
    "ScheduledStationNameCodeSequence",
    "ScheduledStationClassCodeSequence",
    "ScheduledStationGeographicLocationCodeSequence",
    "ScheduledWorkitemCodeSequence",
    "CommentsOnTheScheduledProcedureStep",
    "InputInformationSequence",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "AdmissionID",
    "IssuerOfAdmissionIDSequence",
    "AdmittingDiagnosesDescription",
    "AdmittingDiagnosesCodeSequence",
    "ReferencedRequestSequence",
    "ProcedureStepProgressInformationSequence",
    "UnifiedProcedureStepPerformedProcedureSequence",
]
#: Created without a value: they belong to the performer.
_EMPTY = (TRANSACTION_UID, PROGRESS, PERFORMED)
_VALUES = {PRIORITY: ("HIGH", "MEDIUM", "LOW"), READINESS: ("INCOMPLETE", "UNAVAILABLE", "READY")}
#: The column of N-SET: not allowed.
_FIXED = [
    "SOPClassUID",
    "SOPInstanceUID",
    "ScheduledProcedureStepModificationDateTime",
    "ProcedureStepState",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "OtherPatientIDsSequence",
    "AdmissionID",
    "IssuerOfAdmissionIDSequence",
    "AdmittingDiagnosesDescription",
    "AdmittingDiagnosesCodeSequence",
    "ReferencedRequestSequence",
    "ReplacedProcedureStepSequence",
]
#: What the performer says; everything else is the scheduled procedure information, whose changes are dated.
_PERFORMER = frozenset({PROGRESS, PERFORMED})
#: Final state, column P: to be COMPLETED these are in the performed procedure; whether they must have a value.
_PERFORMED = {
    PERFORMED_STATION: True,
    PERFORMED_START: True,
    PERFORMED_CODE: True,
    PERFORMED_END: True,
    # An analysis may come to nothing.
    OUTPUT: False,
}


def named(tag: str) -> str:
    """An attribute as a person knows it: its keyword and tag."""
    return f"{keyword_for_tag(int(tag, 16))} ({tag[:4]},{tag[4:]})".strip()


def is_uid(text: str) -> bool:
    """Whether the text is a UID (PS3.5 9.1)."""
    return len(text) <= 64 and bool(_UID.fullmatch(text))


def created(attributes: Attributes, uid: str, label: str, now: datetime) -> tuple[Attributes, tuple[str, ...]]:
    """A new workitem as it is kept, and the tags that we had to add; ``label`` is that of our worklist.

    Raises BadRequest naming the attribute that is missing or may not be there.
    """
    for tag in NEEDED:
        if not _says(attributes, tag):
            raise BadRequest(f"{named(tag)} is missing; a new workitem needs a value.", expression=tag)
    _check_values(attributes)
    if read.text(attributes, STATE) != SCHEDULED:
        raise BadRequest(f"{named(STATE)} of a new workitem is SCHEDULED (C309).", expression=STATE)
    for tag in _EMPTY:
        if _says(attributes, tag):
            raise BadRequest(f"{named(tag)} of a new workitem is empty; its performer will fill it.", expression=tag)
    kept = {tag: value for tag, value in attributes.items() if tag not in (TRANSACTION_UID, SOP_CLASS, SOP_INSTANCE)}
    added = [tag for tag in map(tag_of, _KNOWN) if tag is not None and tag not in kept]
    for tag in added:
        kept[tag] = {"vr": vr_of(tag)}
    if not _says(kept, WORKLIST_LABEL):
        kept[WORKLIST_LABEL] = element("LO", label)
        added.append(WORKLIST_LABEL)
    kept |= {
        SOP_CLASS: element("UI", UPS_PUSH),
        SOP_INSTANCE: element("UI", uid),
        MODIFIED: element("DT", date_time(now)),
    }
    return dict(sorted(kept.items())), tuple(added)


def changed(attributes: Attributes, changes: Attributes, now: datetime) -> Attributes:
    """The workitem after an update; sequences are replaced as wholes (PS3.4 CC.2.6.2).

    Raises BadRequest naming the attribute that may not be changed, or not be empty.
    """
    for tag in changes:
        if any(tag == tag_of(word) for word in _FIXED):
            cure = "use the state resource" if tag == STATE else "leave it out"
            raise BadRequest(f"{named(tag)} may not be changed by an update; {cure}.", expression=tag)
    for tag in (*NEEDED, WORKLIST_LABEL):
        if tag in changes and not _says(changes, tag):
            raise BadRequest(f"{named(tag)} may not be emptied; give a value or leave it out.", expression=tag)
    _check_values(changes)
    after = attributes | {tag: value for tag, value in changes.items() if tag != TRANSACTION_UID}
    if after == attributes:
        return attributes
    if any(after[tag] != attributes.get(tag) for tag in changes if tag not in (*_PERFORMER, TRANSACTION_UID)):
        after[MODIFIED] = element("DT", date_time(now))
    return dict(sorted(after.items()))


def ended(attributes: Attributes, state: str, now: datetime) -> Attributes:
    """The workitem in a final state; raises Inconsistent (C304) naming what its performer has not said yet."""
    if state == CANCELED:
        progress, *others = read.items(attributes, PROGRESS) or [{}]
        if not _says(progress, DISCONTINUATION):
            raise _unmet(state, DISCONTINUATION, "ProcedureStepProgressInformationSequence (0074,1002)")
        if not _says(progress, CANCELLATION_TIME):
            progress = progress | {CANCELLATION_TIME: element("DT", date_time(now))}
        attributes = attributes | {PROGRESS: {"vr": "SQ", "Value": [progress, *others]}}
    if state == COMPLETED:
        items = read.items(attributes, PERFORMED)
        if not items:
            raise _unmet(state, PERFORMED, "an update")
        for tag, valued in _PERFORMED.items():
            if any(not (_says(item, tag) if valued else tag in item) for item in items):
                raise _unmet(state, tag, "UnifiedProcedureStepPerformedProcedureSequence (0074,1216)")
    return attributes | {STATE: element("CS", state)}


def _unmet(state: str, tag: str, where: str) -> Inconsistent:
    return Inconsistent(
        "C304", f"To be {state} the workitem needs {named(tag)} in {where}; update it first.", expression=tag
    )


def _check_values(attributes: Attributes) -> None:
    for tag, allowed in _VALUES.items():
        if _says(attributes, tag) and read.text(attributes, tag) not in allowed:
            raise BadRequest(f"{named(tag)} is one of {', '.join(allowed)}.", expression=tag)


def _says(attributes: Attributes, tag: str) -> bool:
    found = attributes.get(tag, {})
    return any(value not in (None, "", {}) for value in found.get("Value") or ()) or "InlineBinary" in found
