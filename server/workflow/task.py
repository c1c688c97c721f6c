"""The Task that asks for an adapter to be run: https://hl7.org/fhir/R4/task.html, its state machine and parameters."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from server.errors import Unprocessable
from server.fhir import instants

Resource = dict[str, Any]

PARAMETER = "https://hutong.example/fhir/CodeSystem/task-parameter"
#: Nothing is done for a Task in any other state.
OPEN = ("requested", "accepted", "in-progress")


def adapter(task: Resource) -> str:
    """Name of the adapter to run; raises Unprocessable where the Task names none."""
    for item in task.get("input", ()):
        codings = item.get("type", {}).get("coding", ())
        if any(coding.get("system") == PARAMETER and coding.get("code") == "adapter" for coding in codings):
            return str(item.get("valueString", ""))
    raise Unprocessable(
        f"The Task names no adapter: give an input of type {PARAMETER}|adapter.", expression="Task.input"
    )


def is_for(task: Resource, adapters: Collection[str]) -> bool:
    """Whether the Task asks for one of the adapters."""
    return any(_is(item, "adapter") and item.get("valueString") in adapters for item in task.get("input", ()))


def study_id(task: Resource) -> str:
    """Id of the ImagingStudy that the Task is about; raises Unprocessable where it names none."""
    reference = str(task.get("focus", {}).get("reference", ""))
    kind, _, id = reference.partition("/")
    if kind != "ImagingStudy" or not id:
        raise Unprocessable("The Task's focus must be an ImagingStudy of this server.", expression="Task.focus")
    return id.partition("/")[0]


def study_uid(study: Resource) -> str:
    """The Study Instance UID of an ImagingStudy: https://hl7.org/fhir/R4/imagingstudy.html#notes."""
    for identifier in study.get("identifier", ()):
        if identifier.get("system") == "urn:dicom:uid":
            return str(identifier.get("value", "")).removeprefix("urn:oid:")
    raise Unprocessable("The ImagingStudy has no Study Instance UID.", expression="ImagingStudy.identifier")


def begun(task: Resource, moment: datetime) -> Resource:
    """In progress since ``moment``; a Task that was begun before keeps its beginning."""
    period = task.get("executionPeriod") or {"start": instants.text(moment)}
    return {**task, "status": "in-progress", "executionPeriod": period, "lastModified": instants.text(moment)}


def ended(task: Resource, status: str, reason: str, moment: datetime) -> Resource:
    """Rejected or failed, and why."""
    period = {"start": instants.text(moment), **task.get("executionPeriod", {}), "end": instants.text(moment)}
    changed = {"status": status, "statusReason": {"text": reason[:1000]}, "executionPeriod": period}
    return {**task, **changed, "lastModified": instants.text(moment)}


def completed(task: Resource, moment: datetime, *, owner: str, series: list[str], output: list[Resource]) -> Resource:
    """Done: who did it, what was read, what came of it."""
    known = [item for item in task.get("input", ()) if not _is(item, "series")]
    period = {"start": instants.text(moment), **task.get("executionPeriod", {}), "end": instants.text(moment)}
    changed: Resource = {
        "status": "completed",
        "executionPeriod": period,
        "lastModified": instants.text(moment),
        "input": [*known, *(parameter("series", valueString=uid) for uid in series)],
        "output": output,
    }
    if owner:
        changed["owner"] = {"reference": owner}
    return {**{name: value for name, value in task.items() if name != "statusReason"}, **changed}


def parameter(code: str, **value: Any) -> Resource:
    """One input or output."""
    return {"type": {"coding": [{"system": PARAMETER, "code": code}]}, **value}


def _is(item: Resource, code: str) -> bool:
    return any(coding.get("code") == code for coding in item.get("type", {}).get("coding", ()))
