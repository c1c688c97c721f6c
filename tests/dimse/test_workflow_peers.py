"""Worklist, performed steps, storage commitment and availability over real sockets: dcmtk and pynetdicom call and are
called."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association

from server.app.outbound import announcer, commitments
from server.imaging.procedure import procedure_id
from server.security.access import system
from server.settings import Peer, Settings
from tests.dimse.serving import Serving, run, serving
from tests.dimse.test_mpps import begun, ended
from tests.dimse.test_worklist import PATIENT, order
from tests.orthanc import free_port
from tests.orthanc import running as orthanc_running

Make = Callable[..., bytes]
CT = "1.2.840.10008.5.1.4.1.1.2"
MPPS, PUSH_MODEL, IAN = "1.2.840.10008.3.1.2.3.3", "1.2.840.10008.1.20.1", "1.2.840.10008.5.1.4.33"
pytestmark = pytest.mark.peer


class Modality:
    """pynetdicom as a modality: it calls, and it listens for reports and notifications."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, Dataset]] = []
        self.notified: list[Dataset] = []
        self.entity = AE(ae_title="MODALITY")
        for syntax in (MPPS, PUSH_MODEL):
            self.entity.add_requested_context(syntax)
        self.entity.add_supported_context(PUSH_MODEL, scu_role=False, scp_role=True)
        self.entity.add_supported_context(IAN)
        self.handlers: list[Any] = [(evt.EVT_N_EVENT_REPORT, self._hear), (evt.EVT_N_CREATE, self._notified)]
        self.listener = self.entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=self.handlers)
        port = self.listener.server_address[1]
        self.peer = Peer(name="ct", ae_title="MODALITY", port=port, notify_availability=True, timeout=5)

    def call(self, port: int) -> Association:
        found = self.entity.associate("127.0.0.1", port, ae_title="HUTONG", evt_handlers=self.handlers[:1])
        assert found.is_established
        return found

    def _hear(self, event: Any) -> tuple[int, None]:
        self.heard.append((event.event_type, event.event_information))
        return 0, None

    def _notified(self, event: Any) -> tuple[int, None]:
        self.notified.append(event.attribute_list)
        return 0, None

    def wait(self) -> tuple[int, Dataset]:
        deadline = time.monotonic() + 10
        while not self.heard and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.heard.pop()


@pytest.fixture
def modality() -> Iterator[Modality]:
    started = Modality()
    yield started
    # With the associations that the listener accepted.
    started.entity.shutdown()


@pytest.fixture
def server(settings: Settings, database_url: str, modality: Modality) -> Iterator[Serving]:
    with serving(settings, database_url, [modality.peer]) as started:
        yield started


def commitment(*references: tuple[str, str]) -> Dataset:
    dataset = Dataset()
    dataset.TransactionUID = generate_uid()
    items = []
    for sop_class, uid in references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        items.append(item)
    dataset.ReferencedSOPSequence = items
    return dataset


def test_findscu_reads_the_worklist(server: Serving, tmp_path: Path) -> None:
    with server.parts.repository.transaction(system()) as tx:
        for resource in (
            PATIENT,
            order("o1"),
            order("o2", performer=[{"type": "Device", "identifier": {"value": "CT9"}}]),
        ):
            tx.update(resource)
    keys = ("PatientName", "PatientID", "AccessionNumber", "StudyInstanceUID")
    step = "ScheduledProcedureStepSequence[0]"
    keys += (f"{step}.Modality=CT", f"{step}.ScheduledStationAETitle=CT1", f"{step}.ScheduledProcedureStepStartDate")
    arguments = [part for key in keys for part in ("-k", key)]
    said = run("findscu", "-W", "-X", "-od", str(tmp_path), *server.where, *arguments)
    (entry,) = [pydicom.dcmread(file, force=True) for file in tmp_path.glob("rsp*.dcm")]
    assert (entry.AccessionNumber, entry.PatientID) == ("A-o1", "P-0001"), said
    assert str(entry.PatientName) == "Wang^XiaoDong=王^小东"
    assert entry.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate == "20261123"


def test_a_modality_tells_of_its_step(server: Serving, modality: Modality) -> None:
    association = modality.call(server.server.port)
    uid = generate_uid()
    status, _ = association.send_n_create(begun(), MPPS, uid)
    assert status.Status == 0
    status, _ = association.send_n_create(begun(), MPPS, uid)
    assert status.Status == 0x0111
    status, _ = association.send_n_set(ended(), MPPS, uid)
    assert status.Status == 0
    status, _ = association.send_n_set(ended(), MPPS, uid)
    assert (status.Status, status.ErrorID) == (0x0110, 0xA710)
    association.release()
    found = server.parts.repository.read(system(), "Procedure", procedure_id(1, uid))
    assert found["status"] == "completed"


def test_a_commitment_is_reported_on_the_same_association(
    server: Serving, modality: Modality, make_instance: Make
) -> None:
    server.put(make_instance(1))
    association = modality.call(server.server.port)
    asked = commitment((CT, "1.2.3.1.1"), (CT, "1.2.3.9"))
    status, _ = association.send_n_action(asked, 1, PUSH_MODEL, "1.2.840.10008.1.20.1.1")
    assert status.Status == 0
    kind, event = modality.wait()
    assert (kind, event.TransactionUID) == (2, asked.TransactionUID)
    assert event.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.3.1.1"
    assert event.FailedSOPSequence[0].FailureReason == 0x0112
    # The association goes on.
    assert (
        association.send_n_action(commitment((CT, "1.2.3.1.1")), 1, PUSH_MODEL, "1.2.840.10008.1.20.1.1")[0].Status == 0
    )
    assert modality.wait()[0] == 1
    association.release()


def test_a_modality_that_has_gone_is_called(server: Serving, modality: Modality, make_instance: Make) -> None:
    server.put(make_instance(1))
    gone = AE(ae_title="MODALITY")
    gone.add_requested_context(PUSH_MODEL)
    asked = commitment((CT, "1.2.3.1.1"))
    association = gone.associate("127.0.0.1", server.server.port, ae_title="HUTONG")
    association.send_n_action(asked, 1, PUSH_MODEL, "1.2.840.10008.1.20.1.1")
    association.abort()
    with server.parts.database.unit_of_work() as uow:
        # What it answered before it went, if anything, does not count.
        uow.driver.execute("update commitment set reported = null")
    modality.heard.clear()
    commitments(server.parts).run(1, str(asked.TransactionUID))
    kind, event = modality.wait()
    assert (kind, event.TransactionUID) == (1, asked.TransactionUID)


def test_our_own_request_is_answered_by_the_peer_later(
    server: Serving, modality: Modality, make_instance: Make
) -> None:
    """The peer calls us with role selection: it is the SCP on an association that it requests."""
    with server.parts.database.unit_of_work() as uow:
        uow.driver.execute(
            "insert into delivery (tenant, peer, study, rule, state, transaction) "
            "values (1, 'ct', '1.2.3', 'all', 'committing', '1.2.777')"
        )
        uow.driver.execute(
            "insert into sending (tenant, peer, instance, study, rule, sent) "
            "values (1, 'ct', '1.2.3.1.1', '1.2.3', 'all', now())"
        )
    entity = AE(ae_title="MODALITY")
    entity.add_requested_context(PUSH_MODEL)
    role = build_role(PUSH_MODEL, scu_role=False, scp_role=True)
    association = entity.associate("127.0.0.1", server.server.port, ae_title="HUTONG", ext_neg=[role])
    event = commitment((CT, "1.2.3.1.1"))
    event.TransactionUID = "1.2.777"
    status, _ = association.send_n_event_report(event, 1, PUSH_MODEL, "1.2.840.10008.1.20.1.1")
    unknown = commitment((CT, "1.2.3.1.1"))
    refused, _ = association.send_n_event_report(unknown, 1, PUSH_MODEL, "1.2.840.10008.1.20.1.1")
    association.release()
    assert (status.Status, refused.Status) == (0, 0x0110)
    with server.parts.database.reading() as uow:
        state = uow.driver.execute("select state from delivery").fetchone()
        committed = uow.driver.execute("select committed is not null from sending").fetchone()
    assert (state, committed) == (("done",), (True,))


def test_a_peer_is_told_what_is_available(server: Serving, modality: Modality, make_instance: Make) -> None:
    server.put(make_instance(1), make_instance(2))
    telling = announcer(server.parts)
    telling.quiet(1, "1.2.3")
    with server.parts.database.reading() as uow:
        rows = uow.driver.execute("select args from procrastinate_jobs where task_name = 'announce-study'").fetchall()
    for (arguments,) in rows:
        telling.run(**arguments)
    (notification,) = modality.notified
    assert (
        notification.StudyInstanceUID == "1.2.3" and notification["ReferencedPerformedProcedureStepSequence"].is_empty
    )
    (series,) = notification.ReferencedSeriesSequence
    references = [
        (one.ReferencedSOPInstanceUID, one.InstanceAvailability, one.RetrieveAETitle)
        for one in series.ReferencedSOPSequence
    ]
    assert references == [("1.2.3.1.1", "ONLINE", "HUTONG"), ("1.2.3.1.2", "ONLINE", "HUTONG")]


def test_orthanc_moves_and_commits(settings: Settings, database_url: str, tmp_path: Path, make_instance: Make) -> None:
    http_port, dimse_port, ours = free_port(), free_port(), free_port()
    known = {"hutong": {"AET": "HUTONG", "Host": "127.0.0.1", "Port": ours, "AllowStorageCommitment": True}}
    peer = Peer(name="orthanc", ae_title="ORTHANC", port=dimse_port)
    with serving(settings, database_url, [peer], port=ours) as server:
        server.put(*(make_instance(n) for n in (1, 2, 3)))
        with orthanc_running(tmp_path, http_port, dimse_port, known, {}) as orthanc:
            query = orthanc.client.post(
                "/modalities/hutong/query", json={"Level": "Study", "Query": {"PatientID": "P1"}}
            )
            path = query.json()["Path"]
            assert orthanc.client.get(f"{path}/answers").json() == ["0"]
            orthanc.client.post(f"{path}/answers/0/retrieve", json={"TargetAet": "ORTHANC", "Synchronous": True})
            assert len(orthanc.client.get("/instances").json()) == 3
            asked = {"DicomInstances": [{"SOPClassUID": CT, "SOPInstanceUID": f"1.2.3.1.{n}"} for n in (1, 2, 9)]}
            transaction = orthanc.client.post("/modalities/hutong/storage-commitment", json=asked).json()["ID"]
            commitments(server.parts).run(1, transaction)
            found = orthanc.client.get(f"/storage-commitment/{transaction}").json()
    assert found["Status"] == "Failure"
    assert {one["SOPInstanceUID"] for one in found["Success"]} == {"1.2.3.1.1", "1.2.3.1.2"}
    assert [one["SOPInstanceUID"] for one in found["Failures"]] == ["1.2.3.1.9"]
