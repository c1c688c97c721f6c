"""Tasks and workitems follow each other: performed here or outside, canceled from either side, never in circles."""

from dataclasses import replace
from typing import Any

import pytest

from server.errors import Forbidden
from server.imaging import attributes as read
from server.imaging.dataset import Attributes
from server.imaging.workitem import CANCELED, COMPLETED, IN_PROGRESS, SCHEDULED
from server.imaging.workitem_search import parse, search
from server.imaging.workitem_state import Inconsistent
from server.imaging.workitem_subscriptions import WorkitemSubscriptions
from server.imaging.workitems import Workitems
from server.workflow.workitem_content import Place
from server.workflow.workitem_task import WorkitemTasks
from tests.http.worklist import asked, discontinued, element, performed
from tests.workflow.conftest import ACCESS, House, ct
from tests.workflow.test_foreign_report import somebody_elses

SR, SEG = "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.66.4"


def opened(house: House, *external: str) -> Workitems:
    """The worklist of a house whose Tasks are shown as workitems."""
    place = Place(url="http://hutong.test/dicomweb", title="HUTONG")
    tasks = WorkitemTasks(external=frozenset(external), place=place)
    house.repository.followers = (tasks.shown,)
    house.tasks["run-task"] = replace(house.analyst, external=frozenset(external)).run
    return Workitems(repository=house.repository, orders=tasks, label="HUTONG")


def only(worklist: Workitems, **keys: str) -> Attributes:
    (found,) = search(worklist.repository.database, ACCESS, parse([*keys.items(), ("includefield", "all")])).results
    return found


def the_task(house: House) -> dict[str, Any]:
    (found,) = house.search("Task")
    return found


def state_of(worklist: Workitems) -> str:
    return read.text(only(worklist), "00741000")


def test_a_workitem_shows_what_is_done_here(house: House) -> None:
    worklist = opened(house)
    house.receive(ct())
    house.settle(without=["run-task"])
    item = only(worklist, **{"ScheduledWorkitemCodeSequence.CodeValue": "nodule_detection"})
    uid = read.text(item, "00080018")
    assert read.text(item, "00741000") == SCHEDULED and read.text(item, "00100020") == "T-1"
    (source,) = read.items(item, "00404021")
    assert len(read.items(source, "00081199")) == 64 and read.text(source, "0040E020") == "DICOM"
    where = read.text(read.items(source, "0040E025")[0], "00081190")
    assert where.endswith(f"/studies/{read.text(item, '0020000D')}/series/{read.text(source, '0020000E')}")
    assert read.text(read.items(item, "0040A370")[0], "00080050") == "A1"
    with pytest.raises(Forbidden, match="external_adapters"):
        worklist.change_state(ACCESS, uid, asked(IN_PROGRESS))
    house.settle()
    done = only(worklist, ProcedureStepState=COMPLETED)
    (what,) = read.items(done, "00741216")
    made = [read.text(one, "00081150") for out in read.items(what, "00404033") for one in read.items(out, "00081199")]
    assert sorted(made) == [SEG, SR]
    assert read.text(what, "00404050") <= read.text(what, "00404051")
    assert "00081195" not in done


def test_a_rejected_task_is_a_canceled_workitem(house: House) -> None:
    worklist = opened(house)
    images = ct()
    for image in images:
        del image.ImagePositionPatient
    house.receive(images)
    house.settle()
    task = the_task(house)
    progress = read.items(only(worklist, ProcedureStepState=CANCELED), "00741002")[0]
    assert task["status"] == "rejected"
    assert read.text(progress, "00741238") == task["statusReason"]["text"]
    assert read.text(read.items(progress, "0074100E")[0], "00080100") == "110513"


def test_canceled_before_it_began_here(house: House) -> None:
    worklist = opened(house)
    house.receive(ct())
    house.settle(without=["run-task"])
    uid = read.text(only(worklist), "00080018")
    worklist.request_cancel(ACCESS, uid, {"00741238": element("LT", "Wrong study")})
    task = the_task(house)
    assert (task["status"], task["statusReason"]["text"]) == ("cancelled", "Wrong study")
    house.settle()
    assert house.search("DiagnosticReport") == [] and state_of(worklist) == CANCELED


def test_what_is_being_done_here_is_not_canceled_from_outside(house: House) -> None:
    worklist = opened(house)
    house.receive(ct())
    house.settle(without=["run-task"])
    house.repository.update(ACCESS, {**the_task(house), "status": "in-progress"})
    uid = read.text(only(worklist, ProcedureStepState=IN_PROGRESS), "00080018")
    with pytest.raises(Inconsistent) as refused:
        worklist.request_cancel(ACCESS, uid, {})
    assert refused.value.status == "C313"
    with pytest.raises(Inconsistent):
        worklist.change_state(ACCESS, uid, asked(CANCELED))


def test_an_outside_performer(house: House) -> None:
    worklist = opened(house, "nodule_detection")
    images = ct(slices=slice(0, 8))
    house.receive(images)
    house.settle()
    assert house.search("DiagnosticReport") == [] and the_task(house)["status"] == "requested"
    uid = read.text(only(worklist, ProcedureStepState=SCHEDULED), "00080018")
    worklist.change_state(ACCESS, uid, asked(IN_PROGRESS), "GPU7")
    task = the_task(house)
    assert task["status"] == "in-progress" and task["owner"] == {"display": "GPU7"}
    result = somebody_elses(images)
    house.receive([result])
    house.settle()
    output = ((SR, str(result.SOPInstanceUID)), (SEG, "2.25.88"))
    worklist.update(ACCESS, uid, performed(outputs=output))
    versions = int(task["meta"]["versionId"])
    worklist.change_state(ACCESS, uid, asked(COMPLETED))
    task = the_task(house)
    outputs = {one["type"]["coding"][0]["code"]: one for one in task["output"]}
    assert task["status"] == "completed" and task["owner"] == {"display": "GPU7"}
    assert int(task["meta"]["versionId"]) == versions + 1
    assert outputs["structured-report"]["valueString"] == result.SOPInstanceUID
    assert outputs["segmentation"]["valueString"] == "2.25.88"
    (report,) = house.search("DiagnosticReport")
    assert outputs["report"]["valueReference"]["reference"] == f"DiagnosticReport/{report['id']}"
    house.settle()
    assert the_task(house)["meta"] == task["meta"] and state_of(worklist) == COMPLETED


def test_a_report_that_is_read_after_its_task_was_completed(house: House) -> None:
    worklist = opened(house, "nodule_detection")
    images = ct(slices=slice(0, 8))
    house.receive(images)
    house.settle()
    uid = read.text(only(worklist), "00080018")
    worklist.change_state(ACCESS, uid, asked(IN_PROGRESS))
    result = somebody_elses(images)
    house.receive([result])
    worklist.update(ACCESS, uid, performed(outputs=((SR, str(result.SOPInstanceUID)),)))
    worklist.change_state(ACCESS, uid, asked(COMPLETED))
    assert [one["type"]["coding"][0]["code"] for one in the_task(house)["output"]] == ["structured-report"]
    house.settle()
    (report,) = house.search("DiagnosticReport")
    first, second = the_task(house)["output"]
    assert first["valueReference"]["reference"] == f"DiagnosticReport/{report['id']}"
    assert second["valueString"] == result.SOPInstanceUID


def test_an_outside_performer_gives_up(house: House) -> None:
    worklist = opened(house, "nodule_detection")
    house.receive(ct(slices=slice(0, 8)))
    house.settle()
    uid = read.text(only(worklist), "00080018")
    worklist.change_state(ACCESS, uid, asked(IN_PROGRESS))
    worklist.update(ACCESS, uid, discontinued())
    worklist.change_state(ACCESS, uid, asked(CANCELED))
    task = the_task(house)
    assert (task["status"], task["statusReason"]["text"]) == ("failed", "Out of memory")


def test_whoever_cancels_the_task_has_the_performer_asked(house: House) -> None:
    worklist = opened(house, "nodule_detection")
    house.receive(ct(slices=slice(0, 8)))
    house.settle()
    uid = read.text(only(worklist), "00080018")
    subscriptions = WorkitemSubscriptions(database=house.database)
    subscriptions.subscribe(ACCESS, uid, "GPU7", deletion_lock=False)
    worklist.change_state(ACCESS, uid, asked(IN_PROGRESS), "GPU7")
    cancelled = {**the_task(house), "status": "cancelled", "statusReason": {"text": "Patient withdrew"}}
    house.repository.update(ACCESS, cancelled)
    assert state_of(worklist) == IN_PROGRESS
    last = subscriptions.after(ACCESS, "GPU7", 0, 10)[-1].report
    assert b'"00001002":{"vr":"US","Value":[2]}' in last and b"Patient withdrew" in last
    worklist.update(ACCESS, uid, discontinued())
    worklist.change_state(ACCESS, uid, asked(CANCELED))
    assert state_of(worklist) == CANCELED and the_task(house)["status"] == "cancelled"
