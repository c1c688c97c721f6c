"""QIDO-RS over real sockets: keys, forms of the answer, what is warned of and what refused."""

from collections.abc import Callable
from email import message_from_bytes
from urllib.parse import quote

import httpx
import pytest

from server.imaging.native_xml import from_xml
from server.store.database import Database

Make = Callable[..., bytes]


@pytest.fixture
def url(dicomweb_url: str, make_instance: Make) -> str:
    """The DICOMweb routes over two instances of one series."""
    for number in (1, 2):
        file = make_instance(number, InstitutionName="Hospital", Manufacturer="M")
        assert httpx.post(
            f"{dicomweb_url}/studies", content=file, headers={"Content-Type": "application/dicom"}
        ).is_success
    return dicomweb_url


QUERIES = [
    ("PatientName=hu*", 200, 1, ""),
    ("PatientName=HU^T?NG", 200, 1, ""),
    ("PatientName=Tong", 200, 0, ""),
    ("PatientName=Tong&fuzzymatching=true", 200, 1, ""),
    ("PatientName=to%20HU&fuzzymatching=true", 200, 1, ""),
    ("00100020=P1", 200, 1, ""),
    ("ModalitiesInStudy=MR", 200, 0, ""),
    ("ModalitiesInStudy=MR,CT", 200, 1, ""),
    ("ModalitiesInStudy=MR%5CCT", 200, 1, ""),
    ("StudyDate=-20240131", 200, 1, ""),
    ("StudyDate=20240201-", 200, 0, ""),
    ("StudyTime=1000-1015", 200, 1, ""),
    ("StudyDate=20240130-20240201&StudyTime=1200-0900", 200, 1, ""),
    ("StudyDate=20240131&StudyTime=1200-2359", 200, 0, ""),
    ("StudyDate=20240131&StudyTime=1800&TimezoneOffsetFromUTC=%2B0745", 200, 1, ""),
    ("StudyInstanceUID=1.2.3,9.9", 200, 1, ""),
    ("StudyInstanceUID=9.9&StudyInstanceUID=1.2.3", 200, 1, ""),
    ("StudyDescription=Chest*&AccessionNumber=A1", 200, 1, ""),
    ("StudyDescription=chest*", 200, 0, ""),
    ("PatientID=%25", 200, 0, ""),
    ("PatientID=*", 200, 1, ""),
    ("IssuerOfPatientID=%22%22", 200, 0, ""),
    ("IssuerOfPatientID=%22%22&emptyvaluematching=true", 200, 1, ""),
    ("PatientID=%22%22&emptyvaluematching=true", 200, 0, ""),
    ("limit=0", 200, 0, ""),
    ("offset=1", 200, 0, ""),
    ("includefield=all", 200, 1, ""),
    ("Manufacturer=x", 200, 1, "Manufacturer"),
    ("ContentDate=20200101", 200, 1, "ContentDate"),
    ("PatientBirthName=x&NoSuchThing=1", 200, 1, "NoSuchThing"),
    ("includefield=NoSuch", 200, 1, "NoSuch"),
    ("StudyDate=yesterday", 400, 0, "StudyDate"),
    ("StudyDate=20240231", 400, 0, "StudyDate"),
    ("StudyTime=2500", 400, 0, "StudyTime"),
    ("limit=-1", 400, 0, "limit"),
    ("fuzzymatching=perhaps", 400, 0, "fuzzymatching"),
    ("StudyInstanceUID=x", 400, 0, "StudyInstanceUID"),
    ("TimezoneOffsetFromUTC=Z", 400, 0, "TimezoneOffsetFromUTC"),
    ("PatientID=%00", 400, 0, "PatientID"),
]


def test_search_for_studies(url: str) -> None:
    for query, status, found, named in QUERIES:
        answer = httpx.get(f"{url}/studies?{query}")
        assert answer.status_code == status, query
        assert status != 200 or len(answer.json()) == found, query
        said = answer.headers.get("warning", "") if status == 200 else answer.text
        assert named in said, query
        assert (said != "") == (named != ""), query


def test_keys_that_are_not_searched_by_are_refused_where_that_is_asked_for(url: str) -> None:
    for query in ("NoSuchThing=1", "ContentDate=20200101", "Modality=CT"):
        answer = httpx.get(f"{url}/studies?{query}", headers={"Prefer": "respond-async, handling=strict"})
        assert answer.status_code == 400, query
        assert query.split("=")[0] in answer.text
    answer = httpx.get(f"{url}/studies?PatientID=P1", headers={"Prefer": "handling=strict"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "handling=strict")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/series", 1),
        ("/series?Modality=CT&SeriesNumber=1", 1),
        ("/studies/1.2.3/series?SeriesInstanceUID=1.2.3.1", 1),
        ("/studies/1.2.3/series?StudyInstanceUID=9", 0),
        ("/studies/9/series", 0),
        ("/instances?InstanceNumber=2", 1),
        ("/instances?SOPInstanceUID=1.2.3.1.1,1.2.3.1.2", 2),
        ("/studies/1.2.3/instances?limit=1&offset=1", 1),
        ("/studies/1.2.3/series/1.2.3.1/instances", 2),
        ("/studies/1.2.3/series/9/instances", 0),
    ],
)
def test_every_path(url: str, path: str, found: int) -> None:
    answer = httpx.get(url + path)
    assert answer.headers["content-type"] == "application/dicom+json"
    results = answer.json()
    assert len(results) == found
    for result in results:
        assert list(result) == sorted(result)
        retrieved = result["00081190"]["Value"][0]
        assert retrieved.startswith(url) and httpx.get(f"{retrieved}/metadata").status_code == 200


def test_answers_bring_what_the_path_does_not_say(url: str) -> None:
    (everywhere, _) = httpx.get(f"{url}/instances").json()
    (of_study, _) = httpx.get(f"{url}/studies/1.2.3/instances").json()
    (of_series, _) = httpx.get(f"{url}/studies/1.2.3/series/1.2.3.1/instances").json()
    assert {"00100010", "00080060", "00080018"} < everywhere.keys()
    assert {"00080060", "00080018"} < of_study.keys() < everywhere.keys()
    assert {"00080018", "0020000D", "00280010"} < of_series.keys() < of_study.keys()
    # What is written out by hand is what the general way makes.
    (general, _) = httpx.get(f"{url}/studies/1.2.3/series/1.2.3.1/instances?includefield=00181030").json()
    assert general == of_series


def test_includefield_reaches_into_the_header(url: str) -> None:
    (plain,) = httpx.get(f"{url}/studies").json()
    assert "00080080" not in plain
    (more,) = httpx.get(f"{url}/studies?includefield=InstitutionName,00080005&includefield=00080050").json()
    assert more["00080080"] == {"vr": "LO", "Value": ["Hospital"]}
    below = httpx.get(f"{url}/studies?includefield=Manufacturer")
    assert "00080070" not in below.json()[0] and "Manufacturer" not in plain
    assert "00080070" in below.headers["warning"]
    (every, _) = httpx.get(f"{url}/instances?includefield=all").json()
    assert every["00280101"]["Value"] == [16] and "7FE00010" not in every


def test_results_as_native_dicom_model(url: str) -> None:
    accept = {"Accept": 'multipart/related; type="application/dicom+xml"'}
    answer = httpx.get(f"{url}/instances?includefield=all", headers=accept)
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    parts = [part.get_payload(decode=True) for part in message_from_bytes(head + answer.content).walk()][1:]
    expected = httpx.get(f"{url}/instances?includefield=all").json()
    assert [from_xml(part) for part in parts if isinstance(part, bytes)] == expected
    assert httpx.get(f"{url}/studies?PatientID=none", headers=accept).status_code == 204


@pytest.mark.parametrize(
    ("accept", "status", "kind"),
    [
        ("", 200, "application/dicom+json"),
        ("application/json", 200, "application/json"),
        ("text/html, application/dicom+json;q=0.5", 200, "application/dicom+json"),
        ("multipart/related; type=application/dicom+xml, application/dicom+json;q=0.9", 200, "multipart/related"),
        ("image/png", 406, "application/json"),
    ],
)
def test_forms_of_accept(url: str, accept: str, status: int, kind: str) -> None:
    answer = httpx.get(f"{url}/studies", headers={"Accept": accept})
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith(kind)
    assert httpx.get(f"{url}/studies?accept={quote(accept)}", headers={"Accept": "x/y"}).status_code in (status, 406)


def test_a_search_leaves_one_audit_row(url: str, database: Database) -> None:
    httpx.get(f"{url}/studies?PatientName=hu*")
    httpx.get(f"{url}/studies/1.2.3/series/1.2.3.1/instances")
    with database.reading() as uow:
        rows = uow.driver.execute("select who, type, id from audit where action = 'search' order by audit").fetchall()
    assert rows == [("test", "Study", ""), ("test", "SOPInstance", "1.2.3.1")]
