"""Associations: services with several responses, cancelling, sub-operations; and peers that break the protocol."""

import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC
from io import BytesIO
from typing import Any

import pydicom
import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.presentation import build_role

from server.dimse import association as core
from server.dimse import pdu
from server.dimse.server import DimseServer
from server.dimse.service import Caller, Offer, Request, Response
from server.dimse.store import Budget
from server.errors import BadRequest, Unavailable
from server.imaging.guard import GuardLimits
from server.imaging.ingest import Ingest
from server.settings import Settings
from server.store import studies
from server.store.database import Database
from server.store.packs import Packs
from tests.dimse import wire
from tests.dimse.wire import CT, EXPLICIT, IMPLICIT, VERIFICATION, Wire, data, pdv

Make = Callable[..., bytes]
FIND, GET = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.3"
MPPS, COMMITMENT = "1.2.840.10008.3.1.2.3.3", "1.2.840.10008.1.20.1"


class Services:
    """Services that show what the core hands them."""

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.statuses: list[int] = []
        self.ended = threading.Event()
        self.file = b""

    def find(self, caller: Caller, request: Request) -> Iterator[Response]:
        self.seen.append(request)
        wanted = pydicom.dcmread(BytesIO(request.data), force=True).PatientID
        if wanted == "error":
            raise BadRequest("That is no question.")
        if wanted == "away":
            raise Unavailable("The database is away.")
        if wanted == "bug":
            raise ZeroDivisionError
        if wanted == "nothing":
            return
        try:
            for number in range(200):
                if caller.cancelled(request.message_id):
                    yield Response(status=0xFE00)
                    return
                match = Dataset()
                match.PatientID = f"P{number}"
                yield Response(status=0xFF00, dataset=match)
                if wanted == "slow":
                    time.sleep(0.05)
            yield Response(status=0)
        finally:
            self.ended.set()

    def get(self, caller: Caller, request: Request) -> Iterator[Response]:
        found = pydicom.dcmread(BytesIO(self.file))
        body = self.file[
            self.file.index(b"\x08\x00\x05\x00" if b"\x08\x00\x05\x00" in self.file else b"\x08\x00\x16\x00") :
        ]
        for syntax in caller.takes(CT):
            self.statuses.append(caller.store(CT, found.SOPInstanceUID, syntax, body))
        self.statuses.append(caller.store("1.2.3", "1.2", EXPLICIT, b""))
        yield Response(status=0, command={"NumberOfCompletedSuboperations": len(self.statuses)})

    def n(self, caller: Caller, request: Request) -> Iterator[Response]:
        self.seen.append(request)
        yield Response(status=0, command={"AffectedSOPInstanceUID": "1.2.77"})
        if request.command.CommandField == 0x0130:
            told = Dataset()
            told.TransactionUID = "1.2.88"
            self.statuses.append(caller.report(COMMITMENT, "1.2.840.10008.1.20.1.1", 1, told))

    def offers(self) -> list[Offer]:
        def offer(syntax: str, commands: tuple[int, ...], serve: Any, name: str) -> Offer:
            return Offer(
                abstract_syntaxes=(syntax,),
                commands=commands,
                serve=serve,
                transfer_syntaxes=(EXPLICIT, IMPLICIT),
                extended=b"\1",
                name=name,
            )

        return [
            offer(FIND, (0x0020,), self.find, "find"),
            offer(GET, (0x0010,), self.get, "get"),
            offer(MPPS, (0x0140, 0x0120), self.n, "mpps"),
            offer(COMMITMENT, (0x0130,), self.n, "commitment"),
        ]


@pytest.fixture
def services() -> Services:
    return Services()


@pytest.fixture
def server(settings: Settings, ingest: Ingest, services: Services) -> Iterator[DimseServer]:
    started = DimseServer(replace(settings, dimse_port=0), ingest, services.offers())
    started.start()
    yield started
    started.stop()


def keys(patient: str) -> Dataset:
    dataset = Dataset()
    dataset.QueryRetrieveLevel = "STUDY"
    dataset.PatientID = patient
    return dataset


def find(patient: str) -> bytes:
    """A C-FIND request in context 3."""
    asked = wire.command({0x0002: FIND, 0x0100: 0x20, 0x0110: 1, 0x0700: 0, 0x0800: 1})
    value = patient.encode() + b" " * (len(patient) % 2)
    return data(pdv(3, 3, asked), pdv(3, 2, struct.pack("<HH2sH", 0x10, 0x20, b"LO", len(value)) + value))


def associated(server: DimseServer, *syntaxes: str, **options: Any) -> Any:
    entity = AE(ae_title="TESTER")
    for syntax in syntaxes:
        entity.add_requested_context(syntax, [EXPLICIT, IMPLICIT])
    found = entity.associate("127.0.0.1", server.port, ae_title="HUTONG", **options)
    assert found.is_established
    return found


def test_pending_responses_carry_data_sets(server: DimseServer, services: Services) -> None:
    association = associated(server, FIND)
    found = list(association.send_c_find(keys("all"), FIND))
    assert [status.Status for status, _match in found] == [0xFF00] * 200 + [0]
    assert [match.PatientID for _status, match in found[:3]] == ["P0", "P1", "P2"]
    assert services.seen[0].transfer_syntax == EXPLICIT and services.seen[0].abstract_syntax == FIND
    association.release()


def test_a_cancel_is_seen_between_responses(server: DimseServer, services: Services) -> None:
    association = associated(server, FIND)
    statuses = []
    for status, _match in association.send_c_find(keys("slow"), FIND, msg_id=5):
        statuses.append(status.Status)
        if len(statuses) == 2:
            association.send_c_cancel(5, query_model=FIND)
    assert statuses[-1] == 0xFE00 and 2 < len(statuses) < 100
    assert [status.Status for status, _match in association.send_c_find(keys("all"), FIND, msg_id=5)][-1] == 0
    association.release()


@pytest.mark.parametrize(
    "farewell", [b"", pdu.abort(0, 0), struct.pack(">BxI4x", 5, 4)], ids=["close", "abort", "release"]
)
def test_a_service_learns_that_its_caller_is_gone(server: DimseServer, services: Services, farewell: bytes) -> None:
    with Wire(server.port) as caller:
        caller.associate(wire.request([(3, FIND, [EXPLICIT])]))
        caller.send(find("slow"))
        assert caller.status() == 0xFF00
        caller.send(farewell)
    assert services.ended.wait(3)
    with Wire(server.port) as caller:
        assert caller.associate()


@pytest.mark.parametrize(
    ("patient", "status"), [("error", 0xC000), ("away", 0xA700), ("bug", 0xC000), ("nothing", 0xC000)]
)
def test_a_service_that_fails_is_answered_for(server: DimseServer, patient: str, status: int) -> None:
    association = associated(server, FIND)
    assert [answer.Status for answer, _match in association.send_c_find(keys(patient), FIND)] == [status]
    assert [answer.Status for answer, _match in association.send_c_find(keys("all"), FIND)][-1] == 0
    association.release()


def test_c_get_stores_on_the_same_association(server: DimseServer, services: Services, make_instance: Make) -> None:
    services.file = make_instance(StudyDescription="x" * 64)
    got: list[str] = []

    def on_store(event: evt.Event) -> int:
        got.append(event.dataset.SOPInstanceUID)
        return 0xB000

    entity = AE(ae_title="TESTER")
    entity.add_requested_context(GET)
    entity.add_requested_context(CT, EXPLICIT)
    association = entity.associate(
        "127.0.0.1",
        server.port,
        ae_title="HUTONG",
        ext_neg=[build_role(CT, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, on_store)],
    )
    answers = [status.Status for status, _identifier in association.send_c_get(keys("P1"), GET)]
    assert answers == [0] and len(got) == 1
    assert services.statuses == [0xB000, 0x0122]
    association.release()


def test_n_services_are_decoded_and_answered(server: DimseServer, services: Services) -> None:
    association = associated(server, MPPS)
    created = Dataset()
    created.PatientID = "P9"
    status, _attributes = association.send_n_create(created, MPPS, "1.2.77")
    assert status.Status == 0
    status, _attributes = association.send_n_set(created, MPPS, "1.2.77")
    assert status.Status == 0
    create, change = services.seen
    assert (create.command.CommandField, create.command.AffectedSOPInstanceUID) == (0x0140, "1.2.77")
    assert (change.command.CommandField, change.command.RequestedSOPInstanceUID) == (0x0120, "1.2.77")
    assert b"P9" in create.data
    association.release()


def test_an_event_report_follows_on_the_same_association(server: DimseServer, services: Services) -> None:
    told: list[tuple[int, str]] = []
    done = threading.Event()

    def on_report(event: evt.Event) -> tuple[int, None]:
        told.append((event.event_type, event.event_information.TransactionUID))
        done.set()
        return 0, None

    association = associated(server, COMMITMENT, evt_handlers=[(evt.EVT_N_EVENT_REPORT, on_report)])
    asked = Dataset()
    asked.TransactionUID = "1.2.88"
    status, _reply = association.send_n_action(asked, 1, COMMITMENT, "1.2.840.10008.1.20.1.1")
    assert status.Status == 0 and done.wait(3) and told == [(1, "1.2.88")]
    # Its answer comes before the release on the same wire; what it was is known a moment later.
    association.release()
    deadline = time.monotonic() + 3
    while not services.statuses and time.monotonic() < deadline:
        time.sleep(0.01)
    assert services.statuses == [0]


def test_an_unknown_operation_is_unrecognized(server: DimseServer) -> None:
    with Wire(server.port) as caller:
        caller.associate()
        for field in (0x0020, 0x0666, 0x0150):
            caller.send(data(pdv(1, 3, wire.echo(3, field))))
            assert caller.status() == 0x0211
        assert caller.echo() == 0
        caller.release()


def test_an_instance_in_many_fragments_is_stored(server: DimseServer, database: Database, make_instance: Make) -> None:
    file = make_instance()
    body = file[file.index(b"\x08\x00\x16\x00") :]
    with Wire(server.port) as caller:
        caller.associate()
        head = wire.store("1.2.3.1.1")
        caller.send(data(pdv(3, 1, head[:10]), pdv(3, 1, b""), pdv(3, 3, head[10:]), pdv(3, 0, body[:100])))
        for byte in range(100, 120):
            caller.send(data(pdv(3, 0, body[byte : byte + 1])))
        caller.send(data(pdv(3, 0, body[120:])))
        caller.send(data(pdv(3, 2, b"")))
        answer = caller.answer()
        assert answer[0x0900] == b"\0\0" and answer[0x1000].rstrip(b"\0") == b"1.2.3.1.1"
        # Two messages in one PDU are as good as one.
        caller.send(data(pdv(1, 3, wire.echo(8)), pdv(1, 3, wire.echo(9))))
        assert [caller.answer()[0x0120], caller.answer()[0x0120]] == [b"\x08\0", b"\x09\0"]
        caller.release()
    with database.reading() as uow:
        assert len(studies.locate(uow, 1)) == 1


def _large(make_instance: Make, size: int) -> bytes:
    file = make_instance(PixelData=bytes(size))
    return file[file.index(b"\x08\x00\x16\x00") :]


def _send_body(caller: Wire, body: bytes, piece: int = 60_000) -> None:
    for at in range(0, len(body), piece):
        last = 2 if at + piece >= len(body) else 0
        caller.send(data(pdv(3, last, body[at : at + piece])))


def test_a_large_instance_goes_straight_into_a_pack(
    server: DimseServer, database: Database, make_instance: Make
) -> None:
    with Wire(server.port) as caller:
        caller.associate()
        caller.send(data(pdv(3, 3, wire.store("1.2.3.1.1"))))
        _send_body(caller, _large(make_instance, 6 << 20))
        assert caller.status() == 0
    with database.reading() as uow:
        assert studies.locate(uow, 1)[0].length > 6 << 20


def test_where_memory_is_short_instances_go_into_the_pack_as_they_come(
    server: DimseServer, database: Database, make_instance: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server._store, "_budget", Budget(100_000))
    with Wire(server.port) as caller:
        caller.associate()
        for number in (1, 2):
            file = make_instance(number, PixelData=bytes(300_000))
            caller.send(data(pdv(3, 3, wire.store(f"1.2.3.1.{number}"))))
            _send_body(caller, file[file.index(b"\x08\x00\x16\x00") :])
            assert caller.status() == 0
    with database.reading() as uow:
        assert [found.length > 300_000 for found in studies.locate(uow, 1)] == [True, True]
    assert server._store._budget.take(100_000) and not server._store._budget.take(1)


def test_a_transfer_that_ends_early_leaves_nothing(
    server: DimseServer, settings: Settings, make_instance: Make, database: Database
) -> None:
    body = _large(make_instance, 6 << 20)
    with Wire(server.port) as caller:
        caller.associate()
        caller.send(data(pdv(3, 3, wire.store("1.2.3.1.1"))))
        for at in range(0, 5 << 20, 1 << 17):
            caller.send(data(pdv(3, 0, body[at : at + (1 << 17)])))
        caller.socket.shutdown(2)
    with Wire(server.port) as caller:
        caller.associate()
        caller.send(data(pdv(3, 3, wire.store("1.2.3.1.1")), pdv(3, 0, body[:5000])))
        caller.send(pdu.abort(0, 0))
    deadline = time.monotonic() + 5
    packs = settings.data / "blobs"
    while time.monotonic() < deadline and [one for one in packs.rglob("*.pack") if one.stat().st_size > 1 << 20]:
        time.sleep(0.05)
    assert not [one for one in packs.rglob("*.pack") if one.stat().st_size > 1 << 20]
    with database.reading() as uow:
        assert not studies.locate(uow, 1)


def test_a_data_set_over_the_limit_is_refused_with_its_reason(
    settings: Settings, database: Database, make_instance: Make
) -> None:
    door = Ingest(database, Packs(settings.blobs), GuardLimits(instance_bytes=1 << 20), UTC)
    limited = DimseServer(replace(settings, dimse_port=0, max_instance_bytes=1 << 30), door)
    limited.start()
    with Wire(limited.port) as caller:
        caller.associate()
        caller.send(data(pdv(3, 3, wire.store("1.2.3.1.1"))))
        _send_body(caller, _large(make_instance, 6 << 20))
        assert caller.status() == 0xA700
        assert caller.echo() == 0
    limited.stop()


def test_a_refused_data_set_without_end_is_cut_off(settings: Settings, ingest: Ingest) -> None:
    limited = DimseServer(replace(settings, dimse_port=0, max_instance_bytes=1 << 20), ingest)
    limited.start()
    with Wire(limited.port) as caller:
        caller.associate()
        caller.send(data(pdv(3, 3, wire.store("not a uid"))))
        with pytest.raises((ConnectionError, AssertionError)):
            for _turn in range(200):
                caller.send(data(pdv(3, 0, bytes(60_000))))
            assert caller.pdu()[0] == 4
    limited.stop()


@pytest.mark.parametrize(
    ("uid", "sop_class", "status"),
    [("", CT, 0x0117), ("1.2.x", CT, 0x0117), ("1.2.3.1.1", "1.2.840.10008.5.1.4.1.1.4", 0x0122), ("1.9", CT, 0xA900)],
)
def test_what_the_command_says_must_hold(
    server: DimseServer, make_instance: Make, uid: str, sop_class: str, status: int
) -> None:
    file = make_instance()
    with Wire(server.port) as caller:
        caller.associate()
        caller.send(data(pdv(3, 3, wire.store(uid, sop_class=sop_class))))
        _send_body(caller, file[file.index(b"\x08\x00\x16\x00") :])
        assert caller.status() == status
        assert caller.echo() == 0


BREAKS: dict[str, tuple[bytes, tuple[int, int]]] = {
    "unknown context": (data(pdv(9, 3, wire.echo())), (2, pdu.INVALID_PARAMETER)),
    "over-long PDU": (struct.pack(">BxI", 4, pdu.MAXIMUM_LENGTH + 1), (2, pdu.INVALID_PARAMETER)),
    "empty PDU": (struct.pack(">BxI", 4, 0), (2, pdu.INVALID_PARAMETER)),
    "PDV beyond its PDU": (struct.pack(">BxIIBB", 4, 8, 50, 1, 3) + b"xx", (2, pdu.INVALID_PARAMETER)),
    "PDV of no length": (struct.pack(">BxIIBB", 4, 6, 0, 1, 3), (2, pdu.INVALID_PARAMETER)),
    "half a PDV header": (data(pdv(1, 1, b"") + b"abc"), (2, pdu.INVALID_PARAMETER)),
    "data before the command": (data(pdv(1, 2, b"abcd")), (2, pdu.UNEXPECTED_PARAMETER)),
    "command in place of data": (
        data(pdv(3, 3, wire.store("1.2.3")), pdv(3, 3, wire.echo())),
        (2, pdu.UNEXPECTED_PARAMETER),
    ),
    "data of another context": (
        data(pdv(3, 3, wire.store("1.2.3")), pdv(1, 2, b"abcd")),
        (2, pdu.UNEXPECTED_PARAMETER),
    ),
    "command in two contexts": (data(pdv(3, 1, b"abcd"), pdv(1, 3, b"abcd")), (2, pdu.UNEXPECTED_PARAMETER)),
    "huge command set": (data(*[pdv(1, 1, bytes(10_000))] * 7), (2, pdu.INVALID_PARAMETER)),
    "no message ID": (data(pdv(1, 3, wire.command({0x0100: 0x30, 0x0800: 0x0101}))), (0, 0)),
    "no command field": (data(pdv(1, 3, wire.command({0x0110: 1}))), (0, 0)),
    "no data set type": (data(pdv(1, 3, wire.command({0x0100: 0x30, 0x0110: 1}))), (0, 0)),
    "rubbish command": (data(pdv(1, 3, b"\xff" * 40)), (0, 0)),
    "a response": (data(pdv(1, 3, wire.echo(1, 0x8030))), (2, pdu.UNEXPECTED_PARAMETER)),
    "second request": (wire.request(), (2, pdu.UNEXPECTED_PDU)),
    "release response": (struct.pack(">BxI4x", 6, 4), (2, pdu.UNEXPECTED_PDU)),
    "unknown PDU": (struct.pack(">BxI", 0x42, 4), (2, pdu.UNRECOGNIZED_PDU)),
    "long release": (struct.pack(">BxI", 5, 1 << 30), (2, pdu.INVALID_PARAMETER)),
}


@pytest.mark.parametrize("name", BREAKS)
def test_whoever_breaks_the_protocol_is_aborted_with_the_reason(server: DimseServer, name: str) -> None:
    raw, reason = BREAKS[name]
    with Wire(server.port) as caller:
        caller.associate()
        caller.send(raw)
        assert caller.aborted() == reason
    with Wire(server.port) as other:
        other.associate()
        assert other.echo() == 0


def test_a_peer_that_falls_silent_in_mid_message_is_aborted(
    server: DimseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.dimse.connection.Connection.block.__defaults__", (0.3,))
    with Wire(server.port) as caller:
        caller.associate()
        caller.send(data(pdv(3, 3, wire.store("1.2.3")))[:20])
        assert caller.aborted() == (2, 0)


def test_a_long_identifier_is_refused_and_the_association_goes_on(
    server: DimseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "LONGEST_IDENTIFIER", 1000)
    asked = wire.command({0x0002: FIND, 0x0100: 0x20, 0x0110: 1, 0x0700: 0, 0x0800: 1})
    with Wire(server.port) as caller:
        caller.associate(wire.request([(1, VERIFICATION, [IMPLICIT]), (3, FIND, [EXPLICIT])]))
        caller.send(data(pdv(3, 3, asked)))
        _send_body(caller, bytes(9000))
        assert caller.status() == 0xA700
        assert caller.echo() == 0


def test_a_request_during_another_waits_for_its_turn(server: DimseServer) -> None:
    with Wire(server.port) as caller:
        caller.associate(wire.request([(1, VERIFICATION, [IMPLICIT]), (3, FIND, [EXPLICIT])]))
        caller.send(find("all") + data(pdv(1, 3, wire.echo(2))))
        fields = [caller.answer()[0x0100] for _turn in range(201 + 1)]
        assert fields.count(b"\x20\x80") == 201 and fields[-1] == b"\x30\x80"


def test_a_small_maximum_length_is_kept(server: DimseServer) -> None:
    with Wire(server.port) as caller:
        caller.associate(wire.request(longest=128))
        caller.send(data(pdv(1, 3, wire.echo())))
        kind, body = caller.pdu()
        assert kind == 4 and len(body) <= 128
