"""Declared attributes: what may be declared, what is found by them, before and after they are declared."""

import threading
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import orjson
import pytest
from pydicom import Dataset, dcmread

from server.errors import BadRequest, Forbidden, NotFound
from server.imaging import extended_tags, query
from server.imaging.ingest import Ingest, Received
from server.imaging.remove import Remover
from server.security.access import Access
from server.store.database import Database
from server.store.studies import Level

Make = Callable[..., bytes]


def _item(**values: Any) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def _store(ingest: Ingest, access: Access, *files: bytes) -> None:
    outcome = ingest.receive(access, [Received(chunks=[file]) for file in files])
    assert len(outcome.stored) == len(files), outcome.refused


def _files(make: Make) -> list[bytes]:
    requests = [
        _item(ScheduledProcedureStepID="S1", RequestedProcedureID="R1"),
        _item(ScheduledProcedureStepID="S2", RequestedProcedureID="R2"),
    ]
    return [
        make(1, study="1.2.1", SliceThickness=1.25, InstitutionName="Peking Union", RequestAttributesSequence=requests),
        make(2, study="1.2.1", SliceThickness=2.5, InstitutionName="Peking Union"),
        make(
            1,
            study="1.2.2",
            SpecificCharacterSet="ISO_IR 192",
            OperatorsName=["Zhao^Yun=赵^云", "Guan^Yu"],
            AcquisitionDateTime="20240131101500+0800",
            ContentTime="101500",
            PatientAge="040Y",
        ),
    ]


def _index(database: Database) -> None:
    while extended_tags.index_next(database):
        pass


def _ask(database: Database, access: Access, level: Level, text: str) -> tuple[list[str], tuple[str, ...]]:
    parameters = [(name, value) for name, _, value in (part.partition("=") for part in text.split("&") if part)]
    answer = query.search(database, access, query.parse(level, parameters, {}), "http://x")
    unique = {"study": "0020000D", "series": "0020000E", "instance": "00080018"}[level]
    return sorted(orjson.loads(result)[unique]["Value"][0] for result in answer.results), answer.warnings


TAGS = [
    ("SliceThickness", "", "instance"),
    ("InstitutionName", "", "series"),
    ("RequestAttributesSequence.ScheduledProcedureStepID", "", "series"),
    ("RequestAttributesSequence.RequestedProcedureID", "", "series"),
    ("OperatorsName", "", "study"),
    ("AcquisitionDateTime", "", "instance"),
    ("ContentTime", "", "instance"),
    ("PatientAge", "", "study"),
]
STEP = "RequestAttributesSequence.ScheduledProcedureStepID"
PROCEDURE = "RequestAttributesSequence.RequestedProcedureID"
SEARCHES: list[tuple[Level, str, list[str]]] = [
    ("instance", "SliceThickness=2.50", ["1.2.1.1.2"]),
    ("instance", "SliceThickness=1.25\\2.5", ["1.2.1.1.1", "1.2.1.1.2"]),
    ("series", "InstitutionName=Peking*", ["1.2.1.1"]),
    ("instance", "InstitutionName=*Union", ["1.2.1.1.1", "1.2.1.1.2"]),
    ("series", "InstitutionName=peking*", []),
    ("series", f"{STEP}=S1", ["1.2.1.1"]),
    ("series", f"{STEP}=S1&{PROCEDURE}=R1", ["1.2.1.1"]),
    ("series", f"{STEP}=S1&{PROCEDURE}=R2", []),
    ("series", f"00400275.00400009=S?&{PROCEDURE}=R2", ["1.2.1.1"]),
    ("series", f'emptyvaluematching=true&{STEP}=""', ["1.2.2.1"]),
    ("study", "OperatorsName=guan^yu", ["1.2.2"]),
    ("study", "OperatorsName=赵*", ["1.2.2"]),
    ("study", "OperatorsName=yun zhao&fuzzymatching=true", ["1.2.2"]),
    ("study", "OperatorsName=yun guan&fuzzymatching=true", []),
    ("instance", "AcquisitionDateTime=20240131021500", ["1.2.2.1.1"]),
    ("instance", "AcquisitionDateTime=20240131-20240131", ["1.2.2.1.1"]),
    ("instance", "AcquisitionDateTime=20240131101500+0800-20240131101500+0800", ["1.2.2.1.1"]),
    ("instance", "AcquisitionDateTime=20240131101500-", []),
    ("instance", "ContentTime=1000-1020", ["1.2.2.1.1"]),
    ("study", "PatientAge=040Y", ["1.2.2"]),
]


@pytest.mark.parametrize("before", [True, False], ids=["as they arrive", "by the job"])
def test_declared_attributes_are_searched_by(
    database: Database, ingest: Ingest, access: Access, make_instance: Make, before: bool
) -> None:
    def declare() -> None:
        for path, vr, level in TAGS:
            assert extended_tags.declare(database, access, path, vr=vr, level=level)
        assert not extended_tags.declare(database, access, TAGS[0][0], level="study")

    if before:
        declare()
    _store(ingest, access, *_files(make_instance))
    if not before:
        declare()
        assert _ask(database, access, "instance", "SliceThickness=2.5")[1]
        assert not any(tag.ready for tag in extended_tags.listed(database, access))
    _index(database)
    assert all(tag.ready for tag in extended_tags.listed(database, access))
    for level, text, expected in SEARCHES:
        assert _ask(database, access, level, text) == (expected, ()), text


def test_instances_of_a_known_series_are_indexed_too(
    database: Database, ingest: Ingest, access: Access, make_instance: Make
) -> None:
    _store(ingest, access, make_instance(1))
    extended_tags.declare(database, access, "SliceThickness")
    _index(database)
    # The first by the longer way, since it finds the declaration out; the second by the short one.
    _store(ingest, access, make_instance(2, SliceThickness=7))
    _store(ingest, access, make_instance(3, SliceThickness=7))
    assert _ask(database, access, "instance", "SliceThickness=7")[0] == ["1.2.3.1.2", "1.2.3.1.3"]


def test_the_job_goes_on_where_it_stopped(
    database: Database, ingest: Ingest, access: Access, make_instance: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    _store(ingest, access, *(make_instance(n, SliceThickness=n) for n in range(1, 8)))
    extended_tags.declare(database, access, "SliceThickness")
    monkeypatch.setattr(extended_tags, "BATCH", 3)
    seen = []
    while extended_tags.index_next(database):
        (tag,) = extended_tags.listed(database, access)
        seen.append((tag.indexed, tag.ready))
    assert seen == [(3, False), (6, False), (7, True)]
    assert _ask(database, access, "instance", "SliceThickness=7")[0] == ["1.2.3.1.7"]


def test_nothing_is_missed_while_others_store(
    database: Database, ingest: Ingest, access: Access, make_instance: Make
) -> None:
    _store(ingest, access, make_instance(0))

    def store(first: int) -> None:
        for number in range(first, first + 15):
            _store(ingest, access, make_instance(number, SliceThickness=3))

    senders = [threading.Thread(target=store, args=(start,)) for start in (100, 200)]
    for sender in senders:
        sender.start()
    extended_tags.declare(database, access, "SliceThickness")
    while any(sender.is_alive() for sender in senders):
        extended_tags.index_next(database)
    for sender in senders:
        sender.join()
    _index(database)
    assert len(_ask(database, access, "instance", "SliceThickness=3")[0]) == 30


def test_private_attributes_are_found_in_whatever_block(
    database: Database, ingest: Ingest, access: Access, make_instance: Make
) -> None:
    files = []
    for number, block in ((1, 0x10), (2, 0x42)):
        dataset = Dataset()
        dataset.add_new((0x0011, block), "LO", "ACME")
        dataset.add_new((0x0011, block << 8 | 0x01), "LO", "beam")
        values = {f"_{element.tag}": element for element in dataset}
        files.append((number, values))
    extended_tags.declare(database, access, "00111001", vr="LO", creator="ACME")
    for number, values in files:
        _store(ingest, access, _with(make_instance(number), *values.values()))
    _index(database)
    assert _ask(database, access, "instance", "00111001=beam")[0] == ["1.2.3.1.1", "1.2.3.1.2"]


def _with(file: bytes, *elements: Any) -> bytes:
    dataset = dcmread(BytesIO(file))
    for element in elements:
        dataset.add(element)
    out = BytesIO()
    dataset.save_as(out)
    return out.getvalue()


def test_withdrawn_and_removed_values_are_gone(
    database: Database, ingest: Ingest, access: Access, make_instance: Make
) -> None:
    extended_tags.declare(database, access, "InstitutionName", level="study")
    extended_tags.declare(database, access, "DeviceSerialNumber", level="series")
    extended_tags.declare(database, access, "SliceThickness")
    _store(ingest, access, make_instance(1, InstitutionName="H", DeviceSerialNumber="D", SliceThickness=1))
    _index(database)
    assert _ask(database, access, "study", "InstitutionName=H")[0] == ["1.2.3"]
    Remover(database).remove(access, "1.2.3")
    with database.reading() as uow:
        assert uow.driver.execute("select count(*) from attribute_value").fetchone() == (0,)
    extended_tags.withdraw(database, access, "InstitutionName")
    with pytest.raises(NotFound):
        extended_tags.withdraw(database, access, "InstitutionName")


@pytest.mark.parametrize(
    ("path", "given", "words"),
    [
        ("NoSuchThing", {}, "no attribute"),
        ("PatientID", {}, "without being declared"),
        ("PixelData", {}, "not searched by"),
        ("RequestAttributesSequence", {}, "not searched by"),
        ("PatientName.PatientID", {}, "is a sequence"),
        ("SliceThickness", {"level": "frame"}, "level is one of"),
        ("00111001", {"vr": "LO"}, "private creator"),
        ("SliceThickness", {"creator": "ACME"}, "private creator"),
        ("00111001", {"creator": "ACME"}, "VR"),
    ],
)
def test_what_may_not_be_declared(
    database: Database, access: Access, path: str, given: dict[str, str], words: str
) -> None:
    with pytest.raises(BadRequest, match=words):
        extended_tags.declare(database, access, path, **given)


def test_only_an_administrator_declares(database: Database, access: Access) -> None:
    with pytest.raises(Forbidden):
        extended_tags.declare(database, replace(access, scopes=frozenset({"read", "write"})), "SliceThickness")


def test_settings_declare(database: Database, access: Access) -> None:
    wanted = (*extended_tags.REQUIRED, "InstitutionName:series", "SliceThickness", "00189999:LO:study")
    for _ in range(2):
        extended_tags.declare_all(database, access, wanted)
    found = {(tag.path, tag.vr, tag.level) for tag in extended_tags.listed(database, access)}
    assert found == {
        ("00400275.00400009", "SH", "series"),
        ("00400275.00401001", "SH", "series"),
        ("00080080", "LO", "series"),
        ("00180050", "DS", "instance"),
        ("00189999", "LO", "study"),
    }
    with pytest.raises(BadRequest, match="extended query tag"):
        extended_tags.declare_all(database, access, ["a:b:c:d"])
