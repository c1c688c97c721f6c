"""C-FIND as a function: what is answered, in which character set, and what is refused."""

import itertools
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC

import pytest
from pydicom import Dataset

from server.dimse.find import LEVELS, Finding
from server.dimse.identifier import CharacterSets
from server.dimse.service import Response
from server.errors import BadRequest
from server.imaging.guard import GuardLimits
from server.imaging.ingest import Ingest, Received
from server.security.access import Access, system
from server.settings import Peer, Settings
from server.store.database import Database
from server.store.packs import Packs
from tests.dimse.association import EXPLICIT, IMPLICIT, Association, answers, keys, read, request
from tests.dimse.serving import copy_study

Make = Callable[..., bytes]
PATIENT_ROOT, STUDY_ROOT = list(LEVELS)[:2]


@pytest.fixture
def finding(settings: Settings, database: Database, make_instance: Make) -> Finding:
    chinese = {"SpecificCharacterSet": "GB18030", "PatientName": "Wang^XiaoDong=王^小东", "PatientID": "P2"}
    files = [
        make_instance(1, TimezoneOffsetFromUTC="+0800"),
        make_instance(2, TimezoneOffsetFromUTC="+0800"),
        make_instance(1, study="1.2.4", StudyDate="20240215", **chinese),
        make_instance(1, study="1.2.5", StudyDate="20240301", Modality="MR", **chinese),
    ]
    ingest = Ingest(database, Packs(settings.blobs), GuardLimits(), UTC)
    assert len(ingest.receive(system(), [Received(chunks=[file]) for file in files]).stored) == 4
    return Finding(database=database, title="HUTONG")


def found(
    finding: Finding, identifier: Dataset, *, model: str = STUDY_ROOT, syntax: str = EXPLICIT, status: int = 0xFF00
) -> list[Dataset]:
    got = answers(finding.serve, Association(), request(model, identifier, syntax=syntax))
    assert [response.status for response in got] == [status] * (len(got) - 1) + [0]
    return [read(response, syntax) for response in got[:-1]]


def refused(finding: Finding, identifier: Dataset | bytes, model: str = STUDY_ROOT) -> Response:
    (only,) = answers(finding.serve, Association(), request(model, identifier))
    return only


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_a_study_is_found_with_what_was_asked_and_what_every_answer_says(finding: Finding, syntax: str) -> None:
    identifier = keys(
        QueryRetrieveLevel="STUDY", StudyInstanceUID="", PatientName="Hu*", StudyDate="20240101-20240131",
        ModalitiesInStudy="", StudyDescription="", NumberOfStudyRelatedInstances="", StudyComments="",
    )  # fmt: skip
    (study,) = found(finding, identifier, syntax=syntax)
    assert (study.StudyInstanceUID, str(study.PatientName), study.ModalitiesInStudy) == ("1.2.3", "Hu^Tong", "CT")
    assert (study.StudyDate, study.StudyDescription) == ("20240131", "Chest CT")
    assert study.NumberOfStudyRelatedInstances == 2 and study["StudyComments"].is_empty
    assert (study.QueryRetrieveLevel, study.RetrieveAETitle, study.InstanceAvailability) == (
        "STUDY",
        "HUTONG",
        "ONLINE",
    )
    assert study.TimezoneOffsetFromUTC == "+0800"
    assert "SpecificCharacterSet" not in study and "PatientID" not in study


def test_every_level_of_both_models(finding: Finding) -> None:
    patients = found(finding, keys(QueryRetrieveLevel="PATIENT", PatientID="P*"), model=PATIENT_ROOT)
    assert sorted(patient.PatientID for patient in patients) == ["P1", "P2"]
    series = found(finding, keys(QueryRetrieveLevel="SERIES", StudyInstanceUID="1.2.4", Modality=""))
    assert [(one.SeriesInstanceUID, one.Modality) for one in series] == [("1.2.4.1", "CT")]
    images = found(
        finding,
        keys(QueryRetrieveLevel="IMAGE", StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.1", InstanceNumber=""),
    )
    assert [(one.SOPInstanceUID, one.InstanceNumber) for one in images] == [("1.2.3.1.1", 1), ("1.2.3.1.2", 2)]
    relational = found(finding, keys(QueryRetrieveLevel="IMAGE", SOPInstanceUID=["1.2.3.1.2", "1.2.5.1.1"]))
    assert len(relational) == 2


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("GB18030", "GB18030"),
        ("GBK", "GBK"),
        (["", "ISO 2022 IR 58"], ["", "ISO 2022 IR 58"]),
        ("ISO_IR 192", "ISO_IR 192"),
        (None, "ISO_IR 192"),
        # Latin 1 has no Chinese.
        ("ISO_IR 100", "ISO_IR 192"),
    ],
)
def test_names_come_in_the_set_that_was_asked_in(
    finding: Finding, asked: str | list[str] | None, answered: str | list[str]
) -> None:
    identifier = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2.4", PatientName="")
    if asked is not None:
        identifier.add_new(0x00080005, "CS", asked)
    (study,) = found(finding, identifier)
    have = study.SpecificCharacterSet
    assert (list(have) if isinstance(answered, list) else have) == answered
    if answered != ["", "ISO 2022 IR 58"]:
        assert str(study.PatientName) == "Wang^XiaoDong=王^小东"
    else:
        assert "\x1b$)A王" in str(study.PatientName)


@pytest.mark.parametrize("charset", ["GB18030", "ISO_IR 192"])
def test_a_chinese_name_is_matched_in_the_requests_set(finding: Finding, charset: str) -> None:
    identifier = keys(SpecificCharacterSet=charset, QueryRetrieveLevel="STUDY", StudyInstanceUID="", PatientName="王*")
    assert {study.StudyInstanceUID for study in found(finding, identifier)} == {"1.2.4", "1.2.5"}


def test_a_peer_may_have_a_set_of_its_own(finding: Finding) -> None:
    peer = Peer(name="ct", ae_title="TESTER", character_set=("GB18030",))
    theirs = replace(finding, character_sets=CharacterSets([peer]))
    (study,) = found(theirs, keys(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2.4", PatientName=""))
    assert (study.SpecificCharacterSet, str(study.PatientName)) == ("GB18030", "Wang^XiaoDong=王^小东")
    with pytest.raises(BadRequest):
        CharacterSets([Peer(name="ct", ae_title="TESTER", character_set=("GB2312",))])


def test_a_set_that_nobody_knows_is_answered_in_utf_8(finding: Finding) -> None:
    identifier = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 999\x08\x00\x52\x00CS\x06\x00STUDY \x10\x00\x10\x00PN\x00\x00"
    got = answers(finding.serve, Association(), request(STUDY_ROOT, identifier))
    assert {read(response).get("SpecificCharacterSet") for response in got[:-1]} == {"ISO_IR 192", None}


def test_a_key_that_is_not_matched_by_is_told_with_ff01(finding: Finding) -> None:
    identifier = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2.3", SOPInstanceUID="1.2.3.1.1")
    assert len(found(finding, identifier, status=0xFF01)) == 1


def test_refusals_name_the_place(finding: Finding) -> None:
    nowhere = refused(finding, keys(StudyInstanceUID="1.2.3"))
    assert (nowhere.status, nowhere.command["OffendingElement"]) == (0xA900, [0x00080052])
    patient = refused(finding, keys(QueryRetrieveLevel="PATIENT", PatientID=""))
    assert (patient.status, patient.command["OffendingElement"]) == (0xA900, [0x00080052])
    date = refused(finding, b"\x08\x00\x20\x00DA\x04\x002024\x08\x00\x52\x00CS\x06\x00STUDY ")
    assert (date.status, date.command["OffendingElement"]) == (0xC000, [0x00080020]) and date.comment
    broken = refused(finding, b"\x08\x00\x52\x00CS\xff\x00STUDY ")
    assert (broken.status, broken.command["OffendingElement"]) == (0xC000, [0x00080052])
    stranger = Association(access=Access(who="ae:X", scopes=frozenset({"write"})))
    (forbidden,) = answers(finding.serve, stranger, request(STUDY_ROOT, keys(QueryRetrieveLevel="STUDY")))
    assert forbidden.status == 0x0124


def test_a_cancelled_query_ends(finding: Finding) -> None:
    caller = Association()
    caller.cancel_after = 1
    got = answers(finding.serve, caller, request(STUDY_ROOT, keys(QueryRetrieveLevel="STUDY", StudyInstanceUID="")))
    assert [response.status for response in got] == [0xFF00, 0xFE00]


def test_a_query_leaves_one_audit_row(finding: Finding, database: Database) -> None:
    found(finding, keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=""))
    with database.reading() as uow:
        rows = uow.driver.execute("select who, type from audit where action = 'search'").fetchall()
    assert rows == [("system", "Study")]


def test_ten_thousand_matches_take_no_more_memory_than_a_thousand(finding: Finding, database: Database) -> None:
    with database.unit_of_work() as uow:
        copy_study(uow.driver, 10_000)
    asked = request(STUDY_ROOT, keys(QueryRetrieveLevel="STUDY", StudyInstanceUID="", PatientName="", StudyDate=""))
    peaks, counts = [], []
    for most in (1_000, 100_000):
        tracemalloc.start()
        responses = finding.serve(Association(), asked)
        counts.append(sum(1 for _ in itertools.islice(responses, most)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert counts == [1_000, 10_004]
    # The UIDs that were told are remembered, since pages may shift while they are read.
    assert peaks[1] - peaks[0] < 10_000 * 400
