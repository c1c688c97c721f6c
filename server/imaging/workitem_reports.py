"""Event reports about workitems as data sets (PS3.4 table CC.2.4-1, PS3.18 11.13)."""

from dataclasses import dataclass

from server.imaging import attributes as read
from server.imaging.dataset import Attributes
from server.imaging.workitem import (
    CANCELLATION_REASON,
    CONTACT_NAME,
    CONTACT_URI,
    DISCONTINUATION,
    GLOBAL,
    PERFORMERS,
    PROGRESS,
    READINESS,
    STATE,
    STATION,
    UPS_PUSH,
    element,
)

#: Event Type IDs.
STATE_REPORT, CANCEL_REQUESTED, PROGRESS_REPORT, STATUS_CHANGE, ASSIGNED = 1, 2, 3, 4, 5
#: Of a person who is scheduled: code and organization.
_PERFORMER = ("00404009", "00404036")


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """One event."""

    type: int
    attributes: Attributes


def state_report(attributes: Attributes) -> Report:
    """The workitem's state and whether its input is ready; why, where it was canceled."""
    progress = next(iter(read.items(attributes, PROGRESS)), {})
    why = {tag: progress[tag] for tag in (CANCELLATION_REASON, DISCONTINUATION) if tag in progress}
    kept = {tag: attributes[tag] for tag in (READINESS, STATE) if tag in attributes}
    return Report(type=STATE_REPORT, attributes=kept | why)


def cancel_requested(requester: str, request: Attributes) -> Report:
    """Somebody asks the performer to cancel; what the request says is passed on."""
    said = {tag: request[tag] for tag in (CANCELLATION_REASON, DISCONTINUATION, CONTACT_URI, CONTACT_NAME)
            if tag in request}  # fmt: skip
    return Report(type=CANCEL_REQUESTED, attributes={"00741236": element("AE", requester[:16])} | said)


def progress_report(attributes: Attributes) -> Report:
    """How far the performer is."""
    return Report(type=PROGRESS_REPORT, attributes={PROGRESS: attributes[PROGRESS]})


def assigned(attributes: Attributes, *, stations: bool = True, performers: bool = True) -> list[Report]:
    """To which equipment and to which persons the workitem is assigned, a report each."""
    out = []
    if stations and read.items(attributes, STATION):
        out.append(Report(type=ASSIGNED, attributes={STATION: attributes[STATION]}))
    for item in read.items(attributes, PERFORMERS) if performers else ():
        said = {tag: item[tag] for tag in _PERFORMER if tag in item}
        out.append(Report(type=ASSIGNED, attributes=said))
    return out


def restarted() -> Report:
    """This server was started anew and has kept its lists (PS3.4 CC.2.4.3)."""
    return Report(
        type=STATUS_CHANGE,
        attributes={
            "00741242": element("CS", "RESTARTED"),
            "00741244": element("CS", "WARM START"),
            "00741246": element("CS", "WARM START"),
        },
    )


def dataset(report: Report, workitem: str, number: int) -> Attributes:
    """The whole event report; Message ID (0000,0110) has the last 16 bits of the event's number."""
    return {
        "00000002": element("UI", UPS_PUSH),
        "00000110": {"vr": "US", "Value": [number & 0xFFFF]},
        "00001000": element("UI", workitem or GLOBAL),
        "00001002": element("US", report.type),
        **dict(sorted(report.attributes.items())),
    }
