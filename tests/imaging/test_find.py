"""The query behind C-FIND: levels, models, keys that come back, sequences."""

from collections.abc import Callable
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword

from server.errors import BadRequest
from server.imaging.dataset import Attributes
from server.imaging.find import QueryLevel, find, unsupported
from server.imaging.ingest import Ingest, Received
from server.imaging.matching_keys import Ways
from server.security.access import Access
from server.store.database import Database

Make = Callable[..., bytes]


def _request(step: str, procedure: str) -> Dataset:
    item = Dataset()
    item.ScheduledProcedureStepID = step
    item.RequestedProcedureID = procedure
    return item


@pytest.fixture
def stored(ingest: Ingest, access: Access, make_instance: Make) -> None:
    files = [
        *(make_instance(n, study="1.2.1", InstanceNumber=n, SliceThickness=1.25) for n in (1, 2, 3)),
        make_instance(4, study="1.2.1", SeriesInstanceUID="1.2.1.9", Modality="SR", SeriesNumber=9, PixelData=b""),
        make_instance(1, study="1.2.2", StudyDate="20230101", RequestAttributesSequence=[_request("S1", "R1")]),
        make_instance(
            1,
            study="1.2.3",
            PatientID="P2",
            PatientName="Wang^XiaoDong=王^小东=",
            SpecificCharacterSet="GB18030",
            StudyDate="20250101",
        ),
    ]
    outcome = ingest.receive(access, [Received(chunks=[file]) for file in files])
    assert len(outcome.stored) == len(files), outcome.refused


def _keys(**values: Any) -> Attributes:
    """An identifier as the DIMSE edge reads it."""
    found: Attributes = {}
    for keyword, given in values.items():
        vr = dictionary_VR(keyword)
        listed = given if isinstance(given, list) else [given] if given else []
        kept = [{"Alphabetic": value} if vr == "PN" else value for value in listed]
        found[f"{tag_for_keyword(keyword):08X}"] = {"vr": vr, "Value": kept} if kept else {"vr": vr}
    return found


def _ask(database: Database, access: Access, level: QueryLevel, **values: Any) -> list[dict[str, Any]]:
    found = find(database, access, level, _keys(**values))
    return [{tag: element.get("Value") for tag, element in result.items()} for result in found]


@pytest.mark.usefixtures("stored")
def test_each_level_gives_its_entities_and_only_the_keys_asked_for(database: Database, access: Access) -> None:
    assert _ask(database, access, "PATIENT", PatientID="P1", PatientName="", NumberOfPatientRelatedStudies="") == [
        {"00100020": ["P1"], "00100010": [{"Alphabetic": "Hu^Tong"}], "00201200": [2]}
    ]
    studies = _ask(database, access, "STUDY", PatientID="P1", StudyInstanceUID="", ModalitiesInStudy="")
    assert [(s["0020000D"], s["00080061"]) for s in studies] == [(["1.2.1"], ["CT", "SR"]), (["1.2.2"], ["CT"])]
    series = _ask(database, access, "SERIES", StudyInstanceUID="1.2.1", Modality="S?", SeriesInstanceUID="")
    assert series == [{"0020000D": ["1.2.1"], "00080060": ["SR"], "0020000E": ["1.2.1.9"]}]
    images = _ask(database, access, "IMAGE", SeriesInstanceUID="1.2.1.1", InstanceNumber="2", SliceThickness="")
    assert images == [{"0020000E": ["1.2.1.1"], "00200013": [2], "00180050": [1.25]}]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"PatientName": "wang*"}, ["1.2.3"]),
        ({"PatientName": "王*"}, ["1.2.3"]),
        ({"PatientName": "HU^TONG"}, ["1.2.1", "1.2.2"]),
        ({"StudyDate": "20240101-"}, ["1.2.3", "1.2.1"]),
        ({"StudyDate": "-20240131"}, ["1.2.1", "1.2.2"]),
        ({"StudyInstanceUID": ["1.2.1", "1.2.3", "1.2.9"]}, ["1.2.3", "1.2.1"]),
        ({"ModalitiesInStudy": "SR"}, ["1.2.1"]),
        ({"ModalitiesInStudy": "*"}, ["1.2.3", "1.2.1", "1.2.2"]),
        ({"AccessionNumber": "a1"}, []),
    ],
)
def test_keys_match_as_the_standard_has_it(
    database: Database, access: Access, keys: dict[str, Any], expected: list[str]
) -> None:
    found = _ask(database, access, "STUDY", **({"StudyInstanceUID": ""} | keys))
    assert [result["0020000D"][0] for result in found] == expected


@pytest.mark.usefixtures("stored")
def test_fuzzy_names_match_by_beginnings_of_words(database: Database, access: Access) -> None:
    for name in ("xiao wang", "小东", "王小", "WANG", "dong"):
        found = list(find(database, access, "PATIENT", _keys(PatientName=name, PatientID=""), ways=Ways(fuzzy=True)))
        expected = [] if name == "dong" else [["P2"]]
        assert [result["00100020"]["Value"] for result in found] == expected, name


@pytest.mark.usefixtures("stored")
def test_what_is_not_supported_comes_back_empty_and_is_named(database: Database, access: Access) -> None:
    asked = _keys(PatientID="P1", PatientBirthName="Li", StudyInstanceUID="", InstitutionName="")
    results = list(find(database, access, "STUDY", asked))
    assert [result["00101005"] for result in results] == [{"vr": "PN"}, {"vr": "PN"}]
    assert unsupported(database, access, "STUDY", asked) == ("00101005",)


@pytest.mark.usefixtures("stored")
def test_a_sequence_comes_back_with_its_matching_items_and_the_keys_asked_for(
    database: Database, access: Access
) -> None:
    item = _keys(ScheduledProcedureStepID="S1")
    found = list(find(database, access, "IMAGE", _keys(StudyInstanceUID="1.2.2", RequestAttributesSequence=[item])))
    assert found[0]["00400275"] == {"vr": "SQ", "Value": [{"00400009": {"vr": "SH", "Value": ["S1"]}}]}


@pytest.mark.usefixtures("stored")
def test_a_hierarchical_query_needs_the_unique_keys_above(database: Database, access: Access) -> None:
    with pytest.raises(BadRequest, match="hierarchical"):
        find(database, access, "SERIES", _keys(SeriesInstanceUID=""), relational=False)
    with pytest.raises(BadRequest, match="hierarchical"):
        find(database, access, "STUDY", _keys(StudyInstanceUID=""), relational=False, root="PATIENT")
    with pytest.raises(BadRequest, match="PATIENT level"):
        find(database, access, "PATIENT", _keys(PatientID=""), root="STUDY")
    asked = _keys(StudyInstanceUID="1.2.1", SeriesInstanceUID="")
    assert len(list(find(database, access, "SERIES", asked, relational=False, root="STUDY"))) == 2


def test_a_bad_value_is_refused_before_the_first_result(database: Database, access: Access) -> None:
    for keys in ({"StudyDate": "2024"}, {"StudyInstanceUID": "x"}, {"SeriesNumber": "one"}, {"StudyTime": "99"}):
        with pytest.raises(BadRequest):
            find(database, access, "SERIES", _keys(**keys))
