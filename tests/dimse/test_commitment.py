"""Storage commitment in both roles: checked against what is durable, told once, by either association."""

from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset

from server.dimse.commitment import INSTANCE, PUSH_MODEL, Committing
from server.errors import Unavailable
from server.imaging.commitment import COMMITMENT_REPORT, Commitments, Report
from server.imaging.guard import GuardLimits
from server.imaging.ingest import Ingest, Received
from server.security.access import system
from server.settings import Peer, Settings
from server.store.database import Database
from server.store.packs import Packs
from server.workflow.commitment import CommitmentReporter
from tests.dimse.association import Association, answers, request

Make = Callable[..., bytes]
CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
N_ACTION, N_EVENT_REPORT = 0x0130, 0x0100


class Heard:
    """Takes the results of our own requests."""

    def __init__(self) -> None:
        self.results: list[tuple[str, list[str], dict[str, str]]] = []

    def __call__(self, tenant: int, transaction: str, kept: list[str], failed: dict[str, str]) -> bool:
        assert tenant == 1
        self.results.append((transaction, kept, failed))
        return transaction == "1.2.777"


@pytest.fixture
def commitments(settings: Settings, database: Database, make_instance: Make) -> Commitments:
    packs = Packs(settings.blobs)
    files = [Received(chunks=[make_instance(n)]) for n in (1, 2)]
    assert len(Ingest(database, packs, GuardLimits(), UTC).receive(system(), files).stored) == 2
    return Commitments(database, packs)


def item(sop_class: str, uid: str, reason: int | None = None) -> Dataset:
    out = Dataset()
    out.ReferencedSOPClassUID, out.ReferencedSOPInstanceUID = sop_class, uid
    if reason is not None:
        out.FailureReason = reason
    return out


def action(*references: tuple[str, str], transaction: str = "1.2.900", **command: Any) -> Any:
    information = Dataset()
    information.TransactionUID = transaction
    information.ReferencedSOPSequence = [item(*pair) for pair in references]
    asked = {"CommandField": N_ACTION, "RequestedSOPInstanceUID": INSTANCE, "ActionTypeID": 1} | command
    return request(PUSH_MODEL, information, **asked)


def jobs(database: Database) -> int:
    with database.unit_of_work() as uow:
        rows = uow.driver.execute("select 1 from procrastinate_jobs where task_name = %s", (COMMITMENT_REPORT,))
        return len(rows.fetchall())


def test_what_is_kept_is_told_on_the_same_association(commitments: Commitments, database: Database) -> None:
    caller = Association()
    service = Committing(commitments=commitments, hears=Heard())
    (answer,) = answers(service.serve, caller, action((CT, "1.2.3.1.1"), (CT, "1.2.3.1.2")))
    assert answer.status == 0 and answer.command["AffectedSOPInstanceUID"] == INSTANCE
    ((syntax, instance, kind, event),) = caller.reports
    assert (syntax, instance, kind, event.TransactionUID) == (PUSH_MODEL, INSTANCE, 1, "1.2.900")
    assert [one.ReferencedSOPInstanceUID for one in event.ReferencedSOPSequence] == ["1.2.3.1.1", "1.2.3.1.2"]
    assert "FailedSOPSequence" not in event
    # The job that was deferred finds nothing left to do.
    assert jobs(database) == 1 and commitments.report(1, "1.2.900") is None


def test_what_is_not_kept_has_its_reason(commitments: Commitments, settings: Settings) -> None:
    caller = Association()
    service = Committing(commitments=commitments, hears=Heard())
    asked = action((CT, "1.2.3.1.1"), (MR, "1.2.3.1.2"), (CT, "1.2.3.9"))
    answers(service.serve, caller, asked)
    (_, _, kind, event) = caller.reports[0]
    assert kind == 2 and [one.ReferencedSOPInstanceUID for one in event.ReferencedSOPSequence] == ["1.2.3.1.1"]
    failed = {one.ReferencedSOPInstanceUID: one.FailureReason for one in event.FailedSOPSequence}
    assert failed == {"1.2.3.1.2": 0x0119, "1.2.3.9": 0x0112}
    for pack in Path(settings.blobs).rglob("*.pack"):
        pack.write_bytes(b"")
    answers(service.serve, caller, action((CT, "1.2.3.1.1"), transaction="1.2.901"))
    assert caller.reports[1][3].FailedSOPSequence[0].FailureReason == 0x0110


@pytest.mark.parametrize(
    ("command", "references", "status"),
    [
        ({"ActionTypeID": 2}, [(CT, "1.2.3.1.1")], 0x0123),
        ({"RequestedSOPInstanceUID": "1.2"}, [(CT, "1.2.3.1.1")], 0x0112),
        ({}, [], 0x0115),
        ({}, [(CT, "")], 0x0115),
    ],
)
def test_nonsense_is_refused_and_noted_nowhere(
    commitments: Commitments, database: Database, command: dict[str, Any], references: list[Any], status: int
) -> None:
    caller = Association()
    service = Committing(commitments=commitments, hears=Heard())
    (answer,) = answers(service.serve, caller, action(*references, **command))
    assert answer.status == status and answer.comment and caller.reports == [] and jobs(database) == 0


def test_a_transaction_is_told_again_when_asked_again_but_not_reused(commitments: Commitments) -> None:
    caller = Association()
    service = Committing(commitments=commitments, hears=Heard())
    for _ in range(2):
        assert answers(service.serve, caller, action((CT, "1.2.3.1.1")))[0].status == 0
    assert len(caller.reports) == 2
    assert answers(service.serve, caller, action((CT, "1.2.3.1.2")))[0].status == 0x0110


def test_who_has_gone_is_called(commitments: Commitments, database: Database) -> None:
    caller = Association()
    caller.open = False
    service = Committing(commitments=commitments, hears=Heard())
    answers(service.serve, caller, action((CT, "1.2.3.1.1")))
    told: list[tuple[str, Report]] = []
    peers = (Peer(name="ct", ae_title="TESTER"),)
    refusing = CommitmentReporter(commitments=commitments, peers=peers, tell=absent)
    with pytest.raises(Unavailable):
        refusing.run(1, "1.2.900")
    calling = CommitmentReporter(
        commitments=commitments, peers=peers, tell=lambda peer, report: told.append((peer.name, report))
    )
    calling.run(1, "1.2.900")
    calling.run(1, "1.2.900")
    assert [(name, report.committed) for name, report in told] == [("ct", ((CT, "1.2.3.1.1"),))]
    with database.reading() as uow:
        row = uow.driver.execute("select attempts, last_error, reported is not null from commitment").fetchone()
    assert row == (2, "", True)


def absent(_peer: Peer, _report: Report) -> None:
    raise Unavailable("The peer ct could not be reached.")


def test_a_requester_that_is_no_peer_is_not_called(commitments: Commitments, database: Database) -> None:
    caller = Association()
    caller.open = False
    answers(Committing(commitments=commitments, hears=Heard()).serve, caller, action((CT, "1.2.3.1.1")))
    CommitmentReporter(commitments=commitments, peers=(), tell=absent).run(1, "1.2.900")
    with database.reading() as uow:
        (why,) = uow.driver.execute("select last_error from commitment").fetchone() or ("",)
    assert "peers" in why


def test_a_peers_report_reaches_who_asked(commitments: Commitments) -> None:
    heard = Heard()
    service = Committing(commitments=commitments, hears=heard)
    event = Dataset()
    event.TransactionUID = "1.2.777"
    event.ReferencedSOPSequence = [item(CT, "1.2.1")]
    event.FailedSOPSequence = [item(CT, "1.2.2", 0x0112)]
    command = {"CommandField": N_EVENT_REPORT, "AffectedSOPInstanceUID": INSTANCE}
    (answer,) = answers(service.serve, Association(), request(PUSH_MODEL, event, EventTypeID=2, **command))
    assert answer.status == 0 and heard.results == [("1.2.777", ["1.2.1"], {"1.2.2": "0112"})]
    event.TransactionUID = "1.2.778"
    (unknown,) = answers(service.serve, Association(), request(PUSH_MODEL, event, EventTypeID=2, **command))
    (strange,) = answers(service.serve, Association(), request(PUSH_MODEL, event, EventTypeID=5, **command))
    assert (unknown.status, strange.status) == (0x0110, 0x0113)


def test_old_transactions_are_forgotten(commitments: Commitments, database: Database) -> None:
    service = Committing(commitments=commitments, hears=Heard())
    answers(service.serve, Association(), action((CT, "1.2.3.1.1")))
    assert commitments.forget(1) == 0
    with database.unit_of_work() as uow:
        uow.driver.execute("update commitment set reported = reported - interval '2 days'")
    assert commitments.forget(1) == 1
