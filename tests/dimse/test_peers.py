"""Query and retrieval over real sockets: dcmtk and pynetdicom call, dcmtk's storescp receives."""

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from server.imaging.transcode import transcode
from server.settings import Peer, Settings
from tests.dimse.serving import Serving, copy_study, run, serving, tool
from tests.orthanc import free_port

Make = Callable[..., bytes]
CT = "1.2.840.10008.5.1.4.1.1.2"
JPEG_LS = "1.2.840.10008.1.2.4.80"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
STUDY_FIND, STUDY_GET = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.3"
pytestmark = pytest.mark.peer


STORESCP = Peer(name="scp", ae_title="STORESCP", port=free_port())


@pytest.fixture
def running(settings: Settings, database_url: str) -> Iterator[Serving]:
    with serving(settings, database_url, [STORESCP]) as started:
        yield started


def find(running: Serving, tmp_path: Path, *keys: str, model: str = "-S") -> list[Dataset]:
    """What findscu extracts."""
    folder = tmp_path / f"rsp{time.monotonic_ns()}"
    folder.mkdir()
    arguments = [part for key in keys for part in ("-k", key)]
    said = run("findscu", "-X", "-od", str(folder), model, *running.where, *arguments)
    assert "E:" not in said and "F:" not in said, said
    return [pydicom.dcmread(file, force=True) for file in sorted(folder.iterdir())]


def test_findscu_at_every_level(running: Serving, tmp_path: Path, make_instance: Make) -> None:
    running.put(make_instance(1), make_instance(2), make_instance(1, study="1.2.4", StudyDate="20240301"))
    level = "QueryRetrieveLevel"
    (patient,) = find(running, tmp_path, f"{level}=PATIENT", "PatientID=P?", "PatientName", model="-P")
    assert (patient.PatientID, str(patient.PatientName)) == ("P1", "Hu^Tong")
    studies = find(running, tmp_path, f"{level}=STUDY", "StudyDate=20240101-20240201", "StudyInstanceUID", "StudyTime")
    assert [study.StudyInstanceUID for study in studies] == ["1.2.3"]
    (series,) = find(running, tmp_path, f"{level}=SERIES", "StudyInstanceUID=1.2.4", "Modality=C*", "SeriesInstanceUID")
    assert series.SeriesInstanceUID == "1.2.4.1" and series.RetrieveAETitle == "HUTONG"
    images = find(running, tmp_path, f"{level}=IMAGE", "StudyInstanceUID=1.2.3", "SOPInstanceUID", "InstanceNumber=2")
    assert [image.SOPInstanceUID for image in images] == ["1.2.3.1.2"]


def test_findscu_by_a_chinese_name(running: Serving, tmp_path: Path, make_instance: Make) -> None:
    name = {"SpecificCharacterSet": "GB18030", "PatientName": "Wang^XiaoDong=王^小东"}
    running.put(make_instance(1, **name), make_instance(1, study="1.2.4", PatientID="P2"))
    query = Dataset()
    query.SpecificCharacterSet = "GB18030"
    query.QueryRetrieveLevel = "STUDY"
    query.PatientName = "Wang*=王*"
    query.StudyInstanceUID = ""
    query.save_as(tmp_path / "query.dcm", implicit_vr=False, little_endian=True)
    folder = tmp_path / "answers"
    folder.mkdir()
    said = run("findscu", "-X", "-od", str(folder), "-S", *running.where, str(tmp_path / "query.dcm"))
    (answer,) = [pydicom.dcmread(file, force=True) for file in folder.iterdir()]
    assert (answer.StudyInstanceUID, answer.SpecificCharacterSet) == ("1.2.3", "GB18030"), said
    assert str(answer.PatientName) == "Wang^XiaoDong=王^小东"


def test_movescu_brings_a_study_to_storescp(running: Serving, tmp_path: Path, make_instance: Make) -> None:
    compressed = transcode(make_instance(10), JPEG_LS)
    running.put(*(make_instance(n) for n in range(1, 10)), compressed)
    folder = tmp_path / "moved"
    folder.mkdir()
    receiver = subprocess.Popen([tool("storescp"), "-aet", "STORESCP", "-od", str(folder), str(STORESCP.port)])
    try:
        wait_for(STORESCP.port)
        keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3")
        said = run("movescu", "-v", "-S", "-aem", "STORESCP", *running.where, *keys)
    finally:
        receiver.terminate()
        receiver.wait()
    assert "Received Final Move Response (Success)" in said, said
    moved = [pydicom.dcmread(file) for file in folder.iterdir()]
    assert sorted(one.InstanceNumber for one in moved) == list(range(1, 11))
    assert all(one.file_meta.TransferSyntaxUID == EXPLICIT for one in moved)
    # storescp takes no JPEG-LS by itself.
    (last,) = [one for one in moved if one.InstanceNumber == 10]
    assert last.PixelData == pydicom.dcmread(BytesIO(make_instance(10))).PixelData


def test_movescu_hears_why_nothing_came(running: Serving, make_instance: Make) -> None:
    running.put(make_instance(1))
    keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3")
    assert "0xa801" in run("movescu", "-d", "-S", "-aem", "NOBODY", *running.where, *keys)
    # Nobody listens there.
    absent = run("movescu", "-d", "-S", "-aem", "STORESCP", *running.where, *keys)
    assert "0xa702" in absent and re.search(r"Failed Suboperations +: 1", absent), absent


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if subprocess.run([tool("echoscu"), "127.0.0.1", str(port)], capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    raise AssertionError("storescp did not start")


def test_getscu_gets_a_study(running: Serving, tmp_path: Path, make_instance: Make) -> None:
    running.put(*(make_instance(n) for n in range(1, 6)))
    folder = tmp_path / "got"
    folder.mkdir()
    keys = ("-k", "QueryRetrieveLevel=SERIES", "-k", "StudyInstanceUID=1.2.3", "-k", "SeriesInstanceUID=1.2.3.1")
    said = run("getscu", "-v", "-S", "-od", str(folder), *running.where, *keys)
    assert sorted(pydicom.dcmread(file).InstanceNumber for file in folder.iterdir()) == [1, 2, 3, 4, 5], said


def test_pynetdicom_gets_what_it_takes_transcoded(running: Serving, make_instance: Make) -> None:
    running.put(make_instance(1), make_instance(2))
    entity, got = AE(ae_title="TESTER"), list[Dataset]()
    entity.add_requested_context(STUDY_GET, EXPLICIT)
    entity.add_requested_context(CT, IMPLICIT)

    def keep(event: evt.Event) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        got.append(dataset)
        return 0

    association = entity.associate(
        "127.0.0.1", running.server.port, ae_title="HUTONG",
        ext_neg=[build_role(CT, scp_role=True)], evt_handlers=[(evt.EVT_C_STORE, keep)],
    )  # fmt: skip
    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", "1.2.3"
    answers = list(association.send_c_get(query, STUDY_GET))
    association.release()
    assert answers[-1][0].Status == 0 and answers[-1][0].NumberOfCompletedSuboperations == 2
    assert [one.InstanceNumber for one in got] == [1, 2]
    assert {one.file_meta.TransferSyntaxUID for one in got} == {IMPLICIT}


def test_fuzzy_matching_is_done_for_who_negotiated_it(running: Serving, make_instance: Make) -> None:
    running.put(make_instance(1, PatientName="Hu^Tong"))
    entity = AE(ae_title="TESTER")
    entity.add_requested_context(STUDY_FIND, EXPLICIT)
    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID, query.PatientName = "STUDY", "", "tong"
    wish = SOPClassExtendedNegotiation()
    wish.sop_class_uid, wish.service_class_application_information = STUDY_FIND, b"\x01\x00\x01\x01"
    for wishes, agreed, matches in (([], {}, 0), ([wish], {STUDY_FIND: b"\x01\x00\x01"}, 1)):
        association = entity.associate("127.0.0.1", running.server.port, ae_title="HUTONG", ext_neg=wishes)
        assert association.acceptor.sop_class_extended == agreed
        found = [answer for _, answer in association.send_c_find(query, STUDY_FIND) if answer]
        association.release()
        assert len(found) == matches


def test_ten_thousand_matches_stream_and_a_cancel_stops_them(running: Serving, make_instance: Make) -> None:
    running.put(make_instance(1))
    with running.parts.database.unit_of_work() as uow:
        copy_study(uow.driver, 10_000)
    entity = AE(ae_title="TESTER")
    entity.add_requested_context(STUDY_FIND, EXPLICIT)
    association = entity.associate("127.0.0.1", running.server.port, ae_title="HUTONG")
    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID, query.PatientName = "STUDY", "", ""
    start = time.monotonic()
    seen = {str(answer.StudyInstanceUID) for _, answer in association.send_c_find(query, STUDY_FIND) if answer}
    assert len(seen) == 10_001
    assert time.monotonic() - start < 60
    statuses = []
    for number, (status, _answer) in enumerate(association.send_c_find(query, STUDY_FIND, msg_id=99)):
        statuses.append(status.Status)
        if number == 10:
            association.send_c_cancel(99, query_model=STUDY_FIND)
    association.release()
    assert statuses[-1] == 0xFE00 and len(statuses) < 10_000
