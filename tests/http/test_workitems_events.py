"""Subscriptions and event reports over real WebSockets: types, order, filters, locks, restart, slow clients."""

import socket
import time
from collections.abc import Iterator

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from server.http import workitems_channel
from server.settings import Settings
from server.store.database import Database
from tests.http.worklist import (
    FILTERED,
    GLOBAL,
    Worklist,
    code,
    discontinued,
    element,
    new,
    performed,
    report,
    said,
    worklist,
)

UID = "1.2.840.99.2"


@pytest.fixture
def ups(database: Database, settings: Settings) -> Iterator[Worklist]:
    with worklist(database, settings) as opened:
        yield opened


def subscribe(ups: Worklist, workitem: str, title: str = "WATCH", **parameters: str) -> None:
    answer = ups.http.post(f"/workitems/{workitem}/subscribers/{title}", params=parameters)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Content-Location"] == f"{ups.http.base_url}subscribers/{title}".replace("http", "ws", 1)


def test_every_kind_of_report_of_one_workitem(ups: Worklist) -> None:
    assert ups.create(UID).status_code == 201
    subscribe(ups, UID)
    with ups.channel("WATCH") as channel:
        first = report(channel)
        assert said(first) == (1, UID, "SCHEDULED") and first["00404041"]["Value"] == ["READY"]
        assert first["00000002"]["Value"] == ["1.2.840.10008.5.1.4.34.6.1"]
        ups.http.post(f"/workitems/{UID}", json={"00404041": element("CS", "INCOMPLETE")})
        assert report(channel)["00404041"]["Value"] == ["INCOMPLETE"]
        ups.http.post(f"/workitems/{UID}", json={"00404025": {"vr": "SQ", "Value": [code("GPU2", "Second")]}})
        assigned = report(channel)
        assert said(assigned)[0] == 5
        assert assigned["00404025"]["Value"][0]["00080100"]["Value"] == ["GPU2"]
        ups.http.post(f"/workitems/{UID}", json={"00741200": element("CS", "HIGH")})
        ups.state(UID, "IN PROGRESS")
        assert said(report(channel)) == (1, UID, "IN PROGRESS")
        progress = {"vr": "SQ", "Value": [{"00741004": element("DS", 30)}]}
        ups.http.post(f"/workitems/{UID}?1.2.3", json={"00741002": progress})
        assert report(channel)["00741002"]["Value"][0]["00741004"]["Value"] == [30]
        request = {"00741238": element("LT", "Not needed")}
        assert ups.http.post(f"/workitems/{UID}/cancelrequest/ASKER", json=request).status_code == 202
        asked = report(channel)
        assert said(asked)[0] == 2 and asked["00741238"]["Value"] == ["Not needed"]
        assert asked["00741236"]["Value"] == ["ASKER"]
        ups.http.post(f"/workitems/{UID}", json=discontinued())
        assert said(report(channel))[0] == 3
        ups.state(UID, "CANCELED")
        last = report(channel)
        assert said(last) == (1, UID, "CANCELED") and last["00741238"]["Value"] == ["Out of memory"]
        ups.subscriptions.restarted()
        restarted = report(channel)
        assert said(restarted)[:2] == (4, GLOBAL) and restarted["00741242"]["Value"] == ["RESTARTED"]


def test_global_and_filtered_subscriptions(ups: Worklist) -> None:
    assert ups.create(f"{UID}.1").status_code == 201
    subscribe(ups, GLOBAL, "ALL")
    subscribe(ups, GLOBAL, "LOCKED", deletionlock="true")
    subscribe(ups, FILTERED, "SOME", **{"WorklistLabel": "Theirs", "ScheduledWorkitemCodeSequence.CodeValue": "AI1"})
    subscribe(ups, FILTERED, "LIST", filter="WorklistLabel=Theirs,00741200=HIGH")
    assert ups.create(f"{UID}.2", t00741202=element("LO", "Theirs"), t00404025={"vr": "SQ"}).status_code == 201
    with ups.channel("ALL") as every, ups.channel("LOCKED") as locked, ups.channel("SOME") as some:
        assert said(report(every)) == (1, f"{UID}.2", "SCHEDULED")
        assert [said(report(locked))[1] for _ in range(2)] == [f"{UID}.1", f"{UID}.2"]
        assert said(report(some)) == (1, f"{UID}.2", "SCHEDULED")
        ups.state(f"{UID}.1", "IN PROGRESS")
        assert said(report(every)) == said(report(locked)) == (1, f"{UID}.1", "IN PROGRESS")
        with pytest.raises(TimeoutError):
            report(some, 0.5)
    with ups.channel("LIST") as none, pytest.raises(TimeoutError):
        report(none, 0.5)


def test_unsubscribe_and_suspend(ups: Worklist) -> None:
    assert ups.create(f"{UID}.1").status_code == 201
    subscribe(ups, GLOBAL)
    assert ups.http.post(f"/workitems/{GLOBAL}/subscribers/WATCH/suspend").status_code == 200
    assert ups.http.post(f"/workitems/{GLOBAL}/subscribers/WATCH/suspend").status_code == 404
    assert ups.http.post(f"/workitems/{UID}.1/subscribers/WATCH/suspend").status_code == 400
    assert ups.create(f"{UID}.2").status_code == 201
    ups.state(f"{UID}.2", "IN PROGRESS")
    ups.state(f"{UID}.1", "IN PROGRESS")
    with ups.channel("WATCH") as channel:
        assert said(report(channel)) == (1, f"{UID}.1", "IN PROGRESS")
    assert ups.http.delete(f"/workitems/{UID}.1/subscribers/WATCH").status_code == 200
    assert ups.http.delete(f"/workitems/{UID}.1/subscribers/WATCH").status_code == 404
    assert ups.http.post(f"/workitems/{UID}.1/cancelrequest").status_code == 409
    subscribe(ups, f"{UID}.2")
    assert ups.http.delete(f"/workitems/{GLOBAL}/subscribers/WATCH").status_code == 200
    assert ups.http.delete(f"/workitems/{UID}.2/subscribers/WATCH").status_code == 404


def test_what_is_refused(ups: Worklist) -> None:
    assert ups.create(UID).status_code == 201
    assert ups.http.post(f"/workitems/{UID}/subscribers/{'A' * 17}").status_code == 400
    assert ups.http.post(f"/workitems/{UID}/subscribers/A", params={"deletionlock": "yes"}).status_code == 400
    assert ups.http.post(f"/workitems/{UID}/subscribers/A", headers={"scopes": "read"}).status_code == 403
    odd = ups.http.post(f"/workitems/{FILTERED}/subscribers/A", params={"Nonsense": "1"})
    assert odd.status_code == 201 and "Nonsense" in odd.headers["Warning"]
    bad = {"ScheduledProcedureStepStartDateTime": "noon"}
    assert ups.http.post(f"/workitems/{FILTERED}/subscribers/A", params=bad).status_code == 400
    with pytest.raises(InvalidStatus), ups.channel("NOBODY"):
        pass
    url = str(ups.http.base_url).replace("http", "ws", 1) + "subscribers/A"
    with pytest.raises(InvalidStatus), connect(url, origin=Origin("http://evil.example")):
        pass
    with connect(url, origin=Origin(f"http://{ups.http.base_url.netloc.decode()}")):
        pass


def test_a_deletion_lock_keeps_a_workitem(ups: Worklist) -> None:
    for number in (1, 2):
        assert ups.create(f"{UID}.{number}").status_code == 201
        assert ups.http.post(f"/workitems/{UID}.{number}/cancelrequest").status_code == 202
    subscribe(ups, f"{UID}.1", deletionlock="true")
    with ups.workitems.repository.database.unit_of_work() as uow:
        uow.driver.execute("update workitem set ended = ended - interval '40 days'")
    assert ups.workitems.forget(0, 365) == 0
    assert ups.workitems.forget(30, 365) == 1
    assert ups.found() == [f"{UID}.1"]
    subscribe(ups, f"{UID}.1", deletionlock="false")
    assert ups.workitems.forget(30, 365) == 1


def test_reports_survive_reconnect_and_restart_in_order(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with worklist(database, settings) as ups:
        subscribe(ups, GLOBAL)
        for number in range(5):
            ups.create(f"{UID}.{number}", t00404025={"vr": "SQ"})
        with ups.channel("WATCH") as channel:
            seen = [said(report(channel))[1] for _ in range(3)]
        ups.create(f"{UID}.5", t00404025={"vr": "SQ"})
        # Nothing was acknowledged yet: whoever comes back so soon gets everything again, told apart by its number.
        with ups.channel("WATCH") as channel:
            again = [report(channel) for _ in range(6)]
        assert [said(one)[1] for one in again] == [f"{UID}.{number}" for number in range(6)]
        assert [one["00000110"]["Value"][0] for one in again] == list(range(1, 7))
        assert seen == [f"{UID}.{number}" for number in range(3)]
    monkeypatch.setattr(workitems_channel, "_SURE", 0.1)
    with worklist(database, settings) as ups:
        with ups.channel("WATCH") as channel:
            assert [said(report(channel))[1] for _ in range(6)][-1] == f"{UID}.5"
            deadline = time.monotonic() + 10
            while _delivered(ups) < 6 and time.monotonic() < deadline:
                time.sleep(0.1)
        ups.create(f"{UID}.6", t00404025={"vr": "SQ"})
        with ups.channel("WATCH") as channel:
            assert said(report(channel))[1] == f"{UID}.6"


def _delivered(ups: Worklist) -> int:
    with ups.workitems.repository.database.reading() as uow:
        row = uow.driver.execute("select delivered from workitem_subscriber").fetchone()
    assert row is not None
    return int(row[0])


def test_two_channels_of_one_title_both_hear_everything(ups: Worklist) -> None:
    subscribe(ups, GLOBAL)
    with ups.channel("WATCH") as one, ups.channel("WATCH") as other:
        ups.create(UID, t00404025={"vr": "SQ"})
        assert said(report(one)) == said(report(other)) == (1, UID, "SCHEDULED")


def test_a_client_that_takes_nothing_slows_nobody_and_is_let_go(ups: Worklist, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workitems_channel, "_STALLED", 0.5)
    for title in ("STUCK", "WATCH"):
        subscribe(ups, GLOBAL, title)
    with ups.workitems.repository.database.unit_of_work() as uow:
        uow.driver.execute(
            "insert into workitem_event (tenant, subscriber, number, workitem, type, report) "
            "select 1, 'STUCK', n, '', 1, convert_to(repeat(md5(n::text), 8192), 'UTF8') from generate_series(1, 200) n"
        )
        uow.driver.execute("update workitem_subscriber set numbered = 200 where subscriber = 'STUCK'")
    address = ups.http.base_url.host, ups.http.base_url.port
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect((address[0], address[1] or 80))
        stuck.sendall(
            b"GET /dicomweb/subscribers/STUCK HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        with ups.channel("WATCH") as channel:
            for number in range(5):
                began = time.monotonic()
                ups.create(f"{UID}.{number}", t00404025={"vr": "SQ"})
                assert said(report(channel))[1] == f"{UID}.{number}" and time.monotonic() - began < 3
        assert b"101" in stuck.recv(100)
        time.sleep(2)
        taken = 0
        stuck.settimeout(15)
        while piece := stuck.recv(1 << 20):
            taken += len(piece)
        assert 0 < taken < 200 * 262144
    assert _delivered(ups) == 0


def test_completing_reports_once(ups: Worklist) -> None:
    assert ups.http.post(f"/workitems?{UID}", json=new()).status_code == 201
    ups.state(UID, "IN PROGRESS")
    ups.http.post(f"/workitems/{UID}", json=performed())
    subscribe(ups, UID)
    for _ in range(3):
        assert ups.state(UID, "COMPLETED").status_code == 200
    with ups.channel("WATCH") as channel:
        assert [said(report(channel))[2] for _ in range(2)] == ["IN PROGRESS", "COMPLETED"]
        with pytest.raises(TimeoutError):
            report(channel, 0.5)
