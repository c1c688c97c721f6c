"""UPS-RS over real sockets: the life of a workitem, every cell of the state table, forms, search, claims at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from server.imaging.native_xml import from_xml, to_xml
from server.imaging.workitem_state import CANCEL, TABLE, TELL
from server.settings import Settings
from server.store.database import Database
from tests.http.worklist import Worklist, asked, code, discontinued, element, new, performed, worklist

UID = "1.2.840.99.1"
STATES = ("SCHEDULED", "IN PROGRESS", "COMPLETED", "CANCELED")
HELD, OTHER = "1.2.3", "1.2.4"


@pytest.fixture
def ups(database: Database, settings: Settings) -> Iterator[Worklist]:
    with worklist(database, settings) as opened:
        yield opened


def brought(ups: Worklist, state: str, uid: str = UID) -> None:
    """A workitem in a state, claimed by HELD where it ever was."""
    assert ups.create(uid).status_code == 201
    if state == "SCHEDULED":
        return
    assert ups.state(uid, "IN PROGRESS").status_code == 200
    if state != "IN PROGRESS":
        update = performed() if state == "COMPLETED" else discontinued()
        assert ups.http.post(f"/workitems/{uid}", json=update).status_code == 200
        assert ups.state(uid, state).status_code == 200


def test_a_whole_life(ups: Worklist) -> None:
    created = ups.create(UID)
    assert created.status_code == 201
    assert created.headers["Location"] == created.headers["Content-Location"] == f"{ups.http.base_url}workitems/{UID}"
    assert "with modifications" in created.headers["Warning"]
    item = ups.read(UID)
    assert item["00080016"]["Value"] == ["1.2.840.10008.5.1.4.34.6.1"] and item["00741000"]["Value"] == ["SCHEDULED"]
    assert "00404010" in item and item["00741216"] == {"vr": "SQ"}
    changed = {"00741200": element("CS", "HIGH")}
    assert ups.http.post(f"/workitems/{UID}", json=changed).status_code == 200
    assert ups.state(UID, "IN PROGRESS").status_code == 200
    progress = {"vr": "SQ", "Value": [{"00741004": element("DS", 50)}]}
    update = {"00081195": element("UI", HELD), "00741002": progress}
    assert ups.http.post(f"/workitems/{UID}", json=[update]).status_code == 200
    assert ups.http.post(f"/workitems/{UID}?{HELD}", json={**performed(), "00081195": {"vr": "UI"}}).status_code == 200
    assert ups.state(UID, "COMPLETED").status_code == 200
    item = ups.read(UID)
    assert item["00741000"]["Value"] == ["COMPLETED"] and item["00741200"]["Value"] == ["HIGH"]
    assert item["00741002"]["Value"][0]["00741004"]["Value"] == [50]
    assert HELD not in str(item) and "00081195" not in item


@pytest.mark.parametrize(("event", "right"), list(TABLE))
def test_every_cell_of_the_state_table(ups: Worklist, event: str, right: bool) -> None:
    for number, state in enumerate(STATES):
        uid = f"{UID}.{number}"
        brought(ups, state, uid)
        check_cell(ups, uid, event, right, state)


def check_cell(ups: Worklist, uid: str, event: str, right: bool, state: str) -> None:
    # "Not right" is missing where there is none to differ from.
    given = HELD if right else OTHER if state != "SCHEDULED" and event != "IN PROGRESS" else ""
    if event == CANCEL:
        answer = ups.http.post(f"/workitems/{uid}/cancelrequest", json={})
    else:
        if event in ("COMPLETED", "CANCELED") and state == "IN PROGRESS":
            ups.http.post(f"/workitems/{uid}", json=performed() if event == "COMPLETED" else discontinued())
        answer = ups.state(uid, event, given)
    cell = TABLE[event, right][STATES.index(state)]
    after = ups.read(uid)["00741000"]["Value"][0]
    if cell in STATES:
        assert answer.status_code in (200, 202) and after == cell
        return
    assert after == state
    if cell.startswith("B"):
        assert answer.status_code in (200, 202)
        assert answer.headers["Warning"] == f'299 hutong "The UPS is already in the requested state of {state}."'
        return
    assert answer.status_code == (400 if cell == "C301" and not given else 409)
    assert answer.headers["Warning"].startswith("299 hutong ")
    error = answer.json()["errors"][0]
    assert len(error["details"]) > 30 and error["expression"] in ("TransactionUID", "ProcedureStepState")
    if cell == TELL:
        assert "cannot be contacted" in answer.headers["Warning"]


def test_what_a_new_workitem_needs(ups: Worklist) -> None:
    for tag in ("00741200", "00741204", "00404005", "00404041", "00741000"):
        for value in (None, {"vr": "CS"}):
            answer = ups.http.post(f"/workitems?{UID}", json=new(**{f"t{tag}": value}))
            assert answer.status_code == 400 and answer.json()["errors"][0]["expression"] == tag
            assert ups.http.get(f"/workitems/{UID}").status_code == 404


def test_what_a_new_workitem_may_not_have(ups: Worklist) -> None:
    for changes, place in FORBIDDEN:
        answer = ups.create(UID, **changes)
        assert answer.status_code == 400 and answer.json()["errors"][0]["expression"] == place, changes


FORBIDDEN: list[tuple[dict[str, Any], str]] = [
    ({"t00741000": element("CS", "IN PROGRESS")}, "00741000"),
    ({"t00741200": element("CS", "SOON")}, "00741200"),
    ({"t00404041": element("CS", "MAYBE")}, "00404041"),
    ({"t00081195": element("UI", "1.2")}, "00081195"),
    ({"t00741216": {"vr": "SQ", "Value": [{"00404050": element("DT", "2026")}]}}, "00741216"),
    ({"t00741002": {"vr": "SQ", "Value": [{"00741004": element("DS", 1)}]}}, "00741002"),
    ({"t00404018": element("LO", "AI")}, "00404018"),
    ({"t00404018": {"vr": "SQ", "Value": ["AI"]}}, "00404018"),
    ({"tGGGG0000": element("LO", "AI")}, ""),
    ({"t00741204": "text"}, "00741204"),
    ({"t00741204": {"vr": "LO", "Value": "text"}}, "00741204"),
    ({"t00741204": {"vr": "LO", "BulkDataURI": "file:///etc/passwd"}}, "00741204"),
]


def test_uids_are_given_or_made_and_never_taken_twice(ups: Worklist) -> None:
    assert (
        ups.create(UID).status_code == ups.http.post("/workitems", params={"workitem": "1.2.5"}, json=new()).status_code
    )
    assert ups.create(UID).status_code == 409
    inside = ups.http.post("/workitems", json=new(t00080018=element("UI", "1.2.6")))
    made = ups.http.post("/workitems", json=new())
    assert inside.headers["Location"].endswith("/1.2.6") and "/2.25." in made.headers["Location"]
    assert ups.http.post("/workitems?workitem=x", json=new()).status_code == 400
    assert ups.http.post("/workitems", content=b"{").status_code == 400
    assert ups.http.post("/workitems", content=b"[]").status_code == 400
    assert ups.http.post("/workitems", content=b"x", headers={"Content-Type": "text/plain"}).status_code == 415
    assert ups.http.post("/workitems", json=new(), headers={"scopes": "read"}).status_code == 403
    assert ups.http.get(f"/workitems/{UID}", headers={"scopes": "write"}).status_code == 403


def test_what_may_not_be_updated(ups: Worklist) -> None:
    brought(ups, "SCHEDULED")
    before = ups.read(UID)
    fixed: list[tuple[str, dict[str, Any]]] = [
        ("00741000", element("CS", "COMPLETED")),
        ("00080018", element("UI", "1.2")),
        ("00100020", element("LO", "P2")),
        ("0040A370", {"vr": "SQ"}),
        ("00741204", {"vr": "LO"}),
        ("00741200", element("CS", "NOW")),
    ]
    for tag, value in fixed:
        answer = ups.http.post(f"/workitems/{UID}", json={tag: value})
        assert answer.status_code == 400 and answer.json()["errors"][0]["expression"] == tag
    assert ups.read(UID) == before


@pytest.mark.parametrize("state", STATES)
def test_who_may_update_when(ups: Worklist, state: str) -> None:
    brought(ups, state)
    for given in ("", HELD, OTHER):
        target = f"/workitems/{UID}" + (f"?{given}" if given else "")
        answer = ups.http.post(target, json={"00741200": element("CS", "HIGH")})
        allowed = (state, given) in (("SCHEDULED", ""), ("IN PROGRESS", HELD))
        refused = 400 if (state, given) == ("IN PROGRESS", "") else 409
        assert answer.status_code == (200 if allowed else refused)
        assert ("Warning" in answer.headers) is not allowed


def test_final_states_need_what_their_performer_has_to_say(ups: Worklist) -> None:
    brought(ups, "IN PROGRESS")
    for state in ("COMPLETED", "CANCELED"):
        answer = ups.state(UID, state)
        assert answer.status_code == 409 and "update it first" in answer.json()["errors"][0]["details"]
    update = performed()
    for tag in list(update["00741216"]["Value"][0]):
        lacking = performed()
        del lacking["00741216"]["Value"][0][tag]
        assert ups.http.post(f"/workitems/{UID}", json=lacking).status_code == 200
        answer = ups.state(UID, "COMPLETED")
        assert answer.status_code == 409 and answer.json()["errors"][0]["expression"] == tag
    assert ups.http.post(f"/workitems/{UID}", json=update).status_code == 200
    assert ups.state(UID, "COMPLETED").status_code == 200


def test_canceled_before_it_was_claimed(ups: Worklist) -> None:
    brought(ups, "SCHEDULED")
    request = {
        "00741238": element("LT", "Patient moved"),
        "0074100A": element("UR", "tel:1"),
        "0074100C": element("LO", "B"),
    }
    assert ups.http.post(f"/workitems/{UID}/cancelrequest/SOMEBODY", json=request).status_code == 202
    progress = ups.read(UID)["00741002"]["Value"][0]
    assert progress["00741238"]["Value"] == ["Patient moved"] and "00404052" in progress
    assert progress["0074100E"]["Value"][0]["00080100"]["Value"] == ["110513"]
    assert ups.http.post(f"/workitems/{UID}/cancelrequest").headers["Warning"].endswith('of CANCELED."')


@pytest.mark.parametrize("path", ["", "/state", "/cancelrequest", "/subscribers/ME"])
def test_unknown_and_deleted_workitems(ups: Worklist, path: str) -> None:
    def call() -> int:
        method = "PUT" if path == "/state" else "POST"
        body = asked("IN PROGRESS") if path == "/state" else {}
        return ups.http.request(method, f"/workitems/{UID}{path}", json=body).status_code

    assert call() == 404 and ups.http.get(f"/workitems/{UID}").status_code == 404
    brought(ups, "COMPLETED")
    assert ups.workitems.forget(0, 365) == 0
    with ups.workitems.repository.database.unit_of_work() as uow:
        uow.driver.execute("update workitem set ended = ended - interval '2 days'")
    assert ups.workitems.forget(1, 365) == 1
    assert (
        call() == (404 if path == "/subscribers/ME" else 410) and ups.http.get(f"/workitems/{UID}").status_code == 410
    )
    assert ups.found() == [] and ups.create(UID).status_code == 409


def test_xml_in_and_out(ups: Worklist) -> None:
    headers = {"Content-Type": "application/dicom+xml", "Accept": "application/dicom+xml"}
    assert ups.http.post(f"/workitems?{UID}", content=to_xml(new()), headers=headers).status_code == 201
    answer = ups.http.get(f"/workitems/{UID}", headers=headers)
    assert answer.headers["Content-Type"] == "application/dicom+xml"
    assert from_xml(answer.content) == ups.read(UID)
    claim = ups.http.put(f"/workitems/{UID}/state", content=to_xml(asked("IN PROGRESS")), headers=headers)
    assert claim.status_code == 200
    parts = ups.http.get("/workitems", headers={"Accept": 'multipart/related; type="application/dicom+xml"'})
    assert parts.headers["Content-Type"].startswith("multipart/related") and b"NativeDicomModel" in parts.content
    refused = ups.http.get(f"/workitems/{UID}", headers={"Accept": "image/png"})
    assert refused.status_code == 406
    assert ups.http.post("/workitems", content=b"<!DOCTYPE x><x/>", headers=headers).status_code == 400


SEARCHES: list[tuple[dict[str, str], list[int]]] = [
    ({}, [1, 2, 3]),
    ({"ProcedureStepState": "SCHEDULED"}, [1, 2]),
    ({"00741000": "IN PROGRESS"}, [3]),
    ({"ProcedureStepState": "SCHEDULED,IN PROGRESS"}, [1, 2, 3]),
    ({"ProcedureStepState": "LOST"}, []),
    ({"ProcedureStepState": "*PROGRESS"}, [3]),
    ({"WorklistLabel": "Ours"}, [1, 3]),
    ({"WorklistLabel": "Our*", "00100020": "P1"}, [1]),
    ({"ScheduledWorkitemCodeSequence.CodeValue": "AI1"}, [1, 3]),
    ({"00404018.00080100": "AI2"}, [2]),
    ({"ScheduledWorkitemCodeSequence.CodeValue": "AI1", "ScheduledWorkitemCodeSequence.CodeMeaning": "Other"}, []),
    ({"ScheduledProcedureStepStartDateTime": "20260102-"}, [2, 3]),
    ({"ScheduledProcedureStepStartDateTime": "20260101-20260101"}, [1]),
    ({"PatientName": "hu^tong"}, [1]),
    ({"PatientName": "tong", "fuzzymatching": "true"}, [1]),
    ({"AdmissionID": '""', "emptyvaluematching": "true"}, [1, 2]),
    ({"AdmissionID": "V7"}, [3]),
    ({"limit": "1"}, [1]),
    ({"limit": "1", "offset": "2"}, [3]),
    ({"limit": "0"}, []),
    ({"SOPInstanceUID": f"{UID}.1,{UID}.3"}, [1, 3]),
]


@pytest.fixture
def three(ups: Worklist) -> Worklist:
    assert ups.create(f"{UID}.1").status_code == 201
    other = {"vr": "SQ", "Value": [code("AI2", "Other")]}
    name, day = element("PN", {"Alphabetic": "Li^Wei"}), element("DT", "20260102")
    assert ups.create(
        f"{UID}.2", t00404018=other, t00741202=element("LO", "Others"), t00100010=name, t00404005=day
    ).is_success
    third = {"t00100020": element("LO", "P3"), "t00404005": element("DT", "20260103"), "t00100010": name}
    assert ups.create(f"{UID}.3", **third, t00380010=element("LO", "V7")).is_success
    assert ups.state(f"{UID}.3", "IN PROGRESS").is_success
    return ups


def test_search(three: Worklist) -> None:
    for parameters, wanted in SEARCHES:
        assert three.found(**parameters) == [f"{UID}.{number}" for number in wanted], parameters


def test_what_a_search_answers(three: Worklist) -> None:
    first = three.http.get("/workitems", params={"limit": "1"}).json()[0]
    assert "00741000" in first and "00400400" not in first and "00081195" not in first
    more = three.http.get("/workitems", params={"limit": "1", "includefield": "CommentsOnTheScheduledProcedureStep"})
    assert "00400400" in more.json()[0]
    everything = three.http.get("/workitems", params={"SOPInstanceUID": f"{UID}.3", "includefield": "all"}).json()[0]
    assert "00741216" in everything and "00081195" not in everything
    odd = three.http.get("/workitems", params={"Nonsense": "1", "TransactionUID": HELD})
    assert len(odd.json()) == 3 and "'Nonsense' is no attribute" in odd.headers["Warning"]
    for key, value in (("limit", "-1"), ("fuzzymatching", "x"), ("ScheduledProcedureStepStartDateTime", "noon"),
                       ("ScheduledWorkitemCodeSequence", "AI1"), ("PatientID.CodeValue", "1")):  # fmt: skip
        assert three.http.get("/workitems", params={key: value}).status_code == 400, key


def test_one_of_many_claims_wins(ups: Worklist) -> None:
    brought(ups, "SCHEDULED")
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda n: ups.state(UID, "IN PROGRESS", f"1.2.{n}").status_code, range(32)))
    assert sorted(answers) == [200] + [409] * 31
    winner = answers.index(200)
    assert ups.http.post(f"/workitems/{UID}?1.2.{winner}", json={"00741200": element("CS", "HIGH")}).status_code == 200
