"""A Unified Procedure Step: its names, its attributes and its states (PS3.4 annex CC, PS3.3 B.26)."""

from datetime import UTC, datetime
from typing import Any

from server.imaging.dataset import Attributes

#: UPS Push: the SOP class of every workitem (PS3.4 CC.3.1).
UPS_PUSH = "1.2.840.10008.5.1.4.34.6.1"
#: Well-known instances that stand for all workitems, and for those that match a filter (PS3.4 CC.2.3).
GLOBAL = "1.2.840.10008.5.1.4.34.5"
FILTERED = "1.2.840.10008.5.1.4.34.5.1"

SCHEDULED, IN_PROGRESS, COMPLETED, CANCELED = "SCHEDULED", "IN PROGRESS", "COMPLETED", "CANCELED"
STATES = (SCHEDULED, IN_PROGRESS, COMPLETED, CANCELED)
FINAL = (COMPLETED, CANCELED)

SOP_CLASS, SOP_INSTANCE = "00080016", "00080018"
TRANSACTION_UID = "00081195"
STUDY = "0020000D"
STATE = "00741000"
PRIORITY = "00741200"
MODIFIED = "00404010"
WORKLIST_LABEL, LABEL = "00741202", "00741204"
STATION, WORKITEM_CODE, PERFORMERS = "00404025", "00404018", "00404034"
START = "00404005"
READINESS = "00404041"
INPUT = "00404021"
REQUESTS = "0040A370"
PROGRESS = "00741002"
PERFORMED = "00741216"
#: In an item of PROGRESS.
CANCELLATION_TIME, CANCELLATION_REASON, DISCONTINUATION = "00404052", "00741238", "0074100E"
CONTACT_URI, CONTACT_NAME = "0074100A", "0074100C"
#: In an item of PERFORMED.
PERFORMED_STATION, PERFORMED_START, PERFORMED_CODE = "00404028", "00404050", "00404019"
PERFORMED_END, OUTPUT = "00404051", "00404033"


def element(vr: str, *values: Any) -> dict[str, Any]:
    """One element of the DICOM JSON model; without a value where none says anything."""
    kept = [value for value in values if value not in (None, "")]
    return {"vr": vr, "Value": kept} if kept else {"vr": vr}


def sequence(*items: Attributes) -> dict[str, Any]:
    """A sequence of items."""
    return {"vr": "SQ", "Value": list(items)} if items else {"vr": "SQ"}


def code(value: str, scheme: str, meaning: str) -> Attributes:
    """An item of a code sequence (PS3.3 table 8.8-1); a value over 16 characters is a Long Code Value."""
    value_element = element("SH", value) if len(value) <= 16 else element("UC", value)
    return {
        ("00080100" if len(value) <= 16 else "00080119"): value_element,
        "00080102": element("SH", scheme),
        "00080104": element("LO", meaning[:64]),
    }


def date_time(moment: datetime) -> str:
    """A DT value in UTC (PS3.5 6.2)."""
    return f"{moment.astimezone(UTC):%Y%m%d%H%M%S}+0000"
