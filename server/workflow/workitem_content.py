"""A Task that asks for an analysis as the attributes of a workitem: the shape of IHE's AI Workflow for Imaging.

Scheduled Workitem Code, input information with what it takes to retrieve it, and at the end the performed procedure
with its output information (PS3.3 C.30.2 and C.30.3, table 10-3b).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from server.imaging.dataset import Attributes
from server.imaging.imaging_study import is_result
from server.imaging.workitem import (
    INPUT,
    LABEL,
    OUTPUT,
    PERFORMED,
    PERFORMED_CODE,
    PERFORMED_END,
    PERFORMED_START,
    PERFORMED_STATION,
    PRIORITY,
    READINESS,
    REQUESTS,
    SCHEDULED,
    START,
    STATE,
    STUDY,
    WORKITEM_CODE,
    code,
    date_time,
    element,
    sequence,
)
from server.store.studies import Located
from server.store.study_summary import Summary

Resource = dict[str, Any]

#: Coding Scheme Designator of the adapters' names; one beginning with 99 is private (PS3.16 8.2).
SCHEME = "99HUTONG"
#: Task.priority -> Scheduled Procedure Step Priority (PS3.3 C.30.2: HIGH is STAT, LOW is routine).
_PRIORITIES = {"routine": "LOW", "urgent": "MEDIUM", "asap": "MEDIUM", "stat": "HIGH"}
#: Patient's attributes that a workitem has (PS3.4 table CC.2.5-3).
_PATIENT = ("00100010", "00100020", "00100021", "00100030", "00100040")
#: What a Referenced Request Sequence says, from the study.
_REQUEST = ("00080050", "00400100", "00401001", "00321060", "00080090")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where instances are retrieved from."""

    #: Base URL of DICOMweb.
    url: str
    title: str


def scheduled(task: Resource, adapter: str, study: Summary, place: Place, now: datetime) -> Attributes:
    """The workitem's attributes before it is claimed."""
    patient: Attributes = orjson.loads(study.patient_attributes)
    head: Attributes = orjson.loads(study.attributes)
    label = str(task.get("description") or f"Analyse by {adapter}")[:64]
    request = {tag: head[tag] for tag in _REQUEST if tag in head}
    return {
        **{tag: head[tag] for tag in ("00080005",) if tag in head},
        **{tag: patient[tag] for tag in _PATIENT if tag in patient},
        STATE: element("CS", SCHEDULED),
        PRIORITY: element("CS", _PRIORITIES.get(str(task.get("priority")), "LOW")),
        LABEL: element("LO", label),
        READINESS: element("CS", "READY"),
        START: element("DT", date_time(_moment(task.get("authoredOn"), now))),
        STUDY: element("UI", study.study),
        WORKITEM_CODE: sequence(code(adapter, SCHEME, adapter)),
        INPUT: sequence(*_input(study, place)),
        REQUESTS: sequence({STUDY: element("UI", study.study), "00080050": {"vr": "SH"}} | request),
    }


def _input(study: Summary, place: Place) -> Iterable[Attributes]:
    """The study's images, an item for each series; reports and other results are nobody's input."""
    for series in study.series:
        if not is_result(series.modality):
            pairs = [(instance.sop_class, instance.instance) for instance in series.instances]
            yield _access(study.study, series.series, pairs, place)


def _access(study: str, series: str, instances: Iterable[tuple[str, str]], place: Place) -> Attributes:
    """One item of the Referenced Instances and Access Macro."""
    url = f"{place.url}/studies/{study}/series/{series}"
    return {
        "00081199": sequence(
            *({"00081150": element("UI", kind), "00081155": element("UI", uid)} for kind, uid in instances)
        ),
        STUDY: element("UI", study),
        "0020000E": element("UI", series),
        "0040E020": element("CS", "DICOM"),
        "0040E021": sequence({"00080054": element("AE", place.title)}),
        "0040E025": sequence({"00081190": element("UR", url)}),
    }


def performed(task: Resource, adapter: str, made: Sequence[Located], place: Place, now: datetime) -> Attributes:
    """The performed procedure of a Task that this server has completed."""
    period = task.get("executionPeriod", {})
    items = []
    for series in dict.fromkeys((one.study, one.series) for one in made):
        pairs = [(one.sop_class, one.instance) for one in made if (one.study, one.series) == series]
        items.append(_access(*series, pairs, place))
    return {
        PERFORMED: sequence(
            {
                PERFORMED_STATION: sequence(code(place.title, SCHEME, place.title)),
                PERFORMED_START: element("DT", date_time(_moment(period.get("start"), now))),
                PERFORMED_CODE: sequence(code(adapter, SCHEME, adapter)),
                PERFORMED_END: element("DT", date_time(_moment(period.get("end"), now))),
                OUTPUT: sequence(*items),
            }
        )
    }


def _moment(text: object, otherwise: datetime) -> datetime:
    """A FHIR instant or dateTime with a time; ``otherwise`` where it is none."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return otherwise
    return found if found.tzinfo is not None else otherwise
