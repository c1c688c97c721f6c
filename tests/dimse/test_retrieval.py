"""C-GET and C-MOVE as functions: what is selected, sent, counted and answered."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC
from io import BytesIO

import pydicom
import pytest

from server.dimse.get import MODELS as GET_MODELS
from server.dimse.get import Getting
from server.dimse.move import MODELS as MOVE_MODELS
from server.dimse.move import Moving
from server.dimse.service import Response
from server.dimse.suboperations import Sending
from server.errors import NotAcceptable, Unavailable
from server.imaging.guard import GuardLimits
from server.imaging.ingest import Ingest, Received
from server.imaging.retrieve import Retrieve
from server.imaging.transcode import transcode
from server.security.access import Access, system
from server.settings import Peer, Settings
from server.store.database import Database
from server.store.packs import Packs
from tests.dimse.association import EXPLICIT, IMPLICIT, Association, answers, files_of, keys, read, request

Make = Callable[..., bytes]
CT = "1.2.840.10008.5.1.4.1.1.2"
PATIENT_GET, STUDY_GET = GET_MODELS[:2]
STUDY_MOVE = MOVE_MODELS[1]


@pytest.fixture
def retrieve(settings: Settings, database: Database, make_instance: Make) -> Retrieve:
    """Two studies of one patient and one of another; the second study is implicit."""
    packs = Packs(settings.blobs)
    files = [make_instance(n) for n in (1, 2, 3)]
    files += [make_instance(n, study="1.2.4", syntax=IMPLICIT) for n in (1, 2)]
    files.append(make_instance(1, study="1.2.5", PatientID="P2"))
    outcome = Ingest(database, packs, GuardLimits(), UTC).receive(system(), [Received(chunks=[f]) for f in files])
    assert len(outcome.stored) == 6
    return Retrieve(database, packs, GuardLimits())


def explicit_only(file: bytes, target: str) -> bytes:
    if target != EXPLICIT:
        raise NotAcceptable("Only explicit little endian is written here.")
    return transcode(file, target)


@pytest.fixture
def getting(database: Database, retrieve: Retrieve) -> Getting:
    return Getting(database=database, sending=Sending(retrieve=retrieve, transcode=explicit_only))


def last(found: list[Response]) -> tuple[int, int, int, int]:
    command = found[-1].command
    return (
        found[-1].status,
        command["NumberOfCompletedSuboperations"],
        command["NumberOfFailedSuboperations"],
        command["NumberOfWarningSuboperations"],
    )


def test_a_study_is_got_on_the_same_association_unchanged(getting: Getting, make_instance: Make) -> None:
    caller = Association(takes={CT: (EXPLICIT,)})
    asked = request(STUDY_GET, keys(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2.3"))
    found = answers(getting.serve, caller, asked)
    assert last(found) == (0, 3, 0, 0) and found[-1].dataset is None
    assert found[0].status == 0xFF00 and found[0].command["NumberOfRemainingSuboperations"] == 2
    sent = list(files_of(caller))
    assert [dataset.SOPInstanceUID for dataset in sent] == ["1.2.3.1.1", "1.2.3.1.2", "1.2.3.1.3"]
    assert sent[0] == pydicom.dcmread(BytesIO(make_instance(1)))


@pytest.mark.parametrize(
    ("model", "identifier", "count"),
    [
        (PATIENT_GET, {"QueryRetrieveLevel": "PATIENT", "PatientID": "P1"}, 5),
        (PATIENT_GET, {"QueryRetrieveLevel": "STUDY", "PatientID": "P1", "StudyInstanceUID": "1.2.5"}, 0),
        (STUDY_GET, {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ["1.2.3", "1.2.5"]}, 4),
        (STUDY_GET, {"QueryRetrieveLevel": "SERIES", "StudyInstanceUID": "1.2.4", "SeriesInstanceUID": "1.2.4.1"}, 2),
        (STUDY_GET, {"QueryRetrieveLevel": "IMAGE", "SOPInstanceUID": ["1.2.3.1.1", "1.2.4.1.2"]}, 2),
        (STUDY_GET, {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1.2.9"}, 0),
    ],
)
def test_every_level_selects_by_unique_keys(
    getting: Getting, model: str, identifier: dict[str, object], count: int
) -> None:
    caller = Association(takes={CT: (EXPLICIT, IMPLICIT)})
    assert last(answers(getting.serve, caller, request(model, keys(**identifier)))) == (0, count, 0, 0)
    assert len(caller.stored) == count


@pytest.mark.parametrize(
    ("model", "identifier", "tag"),
    [
        (STUDY_GET, {"StudyInstanceUID": "1.2.3"}, 0x00080052),
        (STUDY_GET, {"QueryRetrieveLevel": "PATIENT", "PatientID": "P1"}, 0x00080052),
        (STUDY_GET, {"QueryRetrieveLevel": "SERIES", "StudyInstanceUID": "1.2.3"}, 0x0020000E),
        (PATIENT_GET, {"QueryRetrieveLevel": "PATIENT", "PatientID": "P*"}, 0x00100020),
    ],
)
def test_an_identifier_that_selects_nothing_definite_is_refused_by_its_place(
    getting: Getting, model: str, identifier: dict[str, object], tag: int
) -> None:
    (refused,) = answers(getting.serve, Association(), request(model, keys(**identifier)))
    assert refused.status == 0xA900 and refused.command["OffendingElement"] == [tag] and refused.comment


def test_wildcards_in_uids_and_broken_identifiers_are_refused(getting: Getting) -> None:
    wild = b"\x08\x00\x52\x00CS\x06\x00STUDY \x20\x00\x0d\x00UI\x04\x001.2*"
    (refused,) = answers(getting.serve, Association(), request(STUDY_GET, wild))
    assert refused.status == 0xA900 and refused.command["OffendingElement"] == [0x0020000D]
    (broken,) = answers(getting.serve, Association(), request(STUDY_GET, wild[:20]))
    assert broken.status == 0xA900


def test_what_the_caller_does_not_take_as_stored_is_transcoded(getting: Getting, make_instance: Make) -> None:
    caller = Association(takes={CT: (EXPLICIT,)})
    asked = request(STUDY_GET, keys(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2.4"))
    assert last(answers(getting.serve, caller, asked)) == (0, 2, 0, 0)
    assert {syntax for _, _, syntax, _ in caller.stored} == {EXPLICIT}
    assert next(files_of(caller)) == pydicom.dcmread(BytesIO(make_instance(1, study="1.2.4")))


def test_what_does_not_arrive_is_counted_and_named(getting: Getting) -> None:
    everything = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=["1.2.3", "1.2.4"])
    implicit = Association(takes={CT: (IMPLICIT,)})
    found = answers(getting.serve, implicit, request(STUDY_GET, everything))
    assert last(found) == (0xB000, 2, 3, 0)
    assert list(read(found[-1]).FailedSOPInstanceUIDList) == ["1.2.3.1.1", "1.2.3.1.2", "1.2.3.1.3"]
    nothing = answers(getting.serve, Association(), request(STUDY_GET, everything))
    assert last(nothing) == (0xA702, 0, 5, 0)
    warned = Association(takes={CT: (EXPLICIT,)})
    warned.status = 0xB007
    assert last(answers(getting.serve, warned, request(STUDY_GET, everything))) == (0xB000, 0, 0, 5)
    # The receiver has them already.
    warned.status = 0x0111
    assert last(answers(getting.serve, warned, request(STUDY_GET, everything))) == (0xB000, 0, 0, 5)


def test_a_cancelled_retrieval_stops_and_says_what_remains(getting: Getting) -> None:
    caller = Association(takes={CT: (EXPLICIT,)})
    caller.cancel_after = 1
    asked = request(STUDY_GET, keys(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2.3"))
    found = answers(getting.serve, caller, asked)
    assert found[-1].status == 0xFE00 and found[-1].command["NumberOfRemainingSuboperations"] == 2
    assert len(caller.stored) == 1


def test_only_who_may_read_gets(getting: Getting) -> None:
    caller = Association(access=Access(who="ae:TESTER", scopes=frozenset({"write"})))
    asked = request(STUDY_GET, keys(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2.3"))
    assert answers(getting.serve, caller, asked)[0].status == 0x0124


def test_a_retrieval_leaves_one_audit_row(getting: Getting, database: Database) -> None:
    asked = request(STUDY_GET, keys(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2.3"))
    answers(getting.serve, Association(takes={CT: (EXPLICIT,)}), asked)
    with database.reading() as uow:
        rows = uow.driver.execute("select who, action, type, id from audit where action = 'read'").fetchall()
    assert rows == [("system", "read", "Study", "1.2.3")]


class Destination:
    """An association that takes its data in pieces."""

    def __init__(self, association: Association) -> None:
        self.takes, self._association = association.takes, association

    def store(self, sop_class: str, sop_instance: str, transfer_syntax: str, data: Iterable[bytes]) -> int:
        return self._association.store(sop_class, sop_instance, transfer_syntax, b"".join(data))


class Opened:
    """Stands for the associations that C-MOVE opens."""

    def __init__(self, destination: Association | None) -> None:
        self.destination = destination
        self.asked: list[tuple[str, list[tuple[str, str]], tuple[str, int]]] = []

    @contextmanager
    def __call__(
        self, peer: Peer, wanted: Sequence[tuple[str, str]], originator: tuple[str, int]
    ) -> Iterator[Destination]:
        self.asked.append((peer.name, list(wanted), originator))
        if self.destination is None:
            raise Unavailable("The peer pacs could not be reached.")
        yield Destination(self.destination)


def moving(database: Database, retrieve: Retrieve, opens: Opened) -> Moving:
    peers = (Peer(name="web", url="http://127.0.0.1:1"), Peer(name="pacs", ae_title="PACS"))
    sending = Sending(retrieve=retrieve, transcode=explicit_only)
    return Moving(database=database, sending=sending, peers=peers, opens=opens)


def test_a_study_is_moved_to_a_peer_on_the_callers_behalf(database: Database, retrieve: Retrieve) -> None:
    opened = Opened(Association(takes={CT: (EXPLICIT,)}))
    asked = request(
        STUDY_MOVE, keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=["1.2.3", "1.2.4"]), MoveDestination="PACS"
    )
    found = answers(moving(database, retrieve, opened).serve, Association(), asked)
    assert last(found) == (0, 5, 0, 0)
    assert opened.asked == [("pacs", [(CT, IMPLICIT), (CT, EXPLICIT)], ("TESTER", 7))]


def test_an_unknown_destination_is_refused_and_an_absent_one_reported(database: Database, retrieve: Retrieve) -> None:
    identifier = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2.3")
    service = moving(database, retrieve, Opened(None)).serve
    for title in ("NOBODY", ""):
        (refused,) = answers(service, Association(), request(STUDY_MOVE, identifier, MoveDestination=title))
        assert refused.status == 0xA801
    (failed,) = answers(service, Association(), request(STUDY_MOVE, identifier, MoveDestination="PACS"))
    assert last([failed]) == (0xA702, 0, 3, 0) and "could not be reached" in failed.comment
    assert len(read(failed).FailedSOPInstanceUIDList) == 3
