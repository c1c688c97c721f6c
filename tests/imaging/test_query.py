"""QIDO-RS matching against answers worked out in Python, and its parser against any text."""

import fnmatch
import re
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.errors import BadRequest
from server.imaging import query
from server.imaging.attributes import fold_name
from server.imaging.ingest import Ingest, Received
from server.imaging.query_keys import KEYS
from server.security.access import Access
from server.store.database import Database
from server.store.studies import Level

Make = Callable[..., bytes]
STUDIES: list[dict[str, Any]] = [
    {
        "PatientName": "Hu^Tong",
        "PatientID": "P1",
        "StudyDate": "20240131",
        "StudyTime": "101500",
        "StudyDescription": "CT",
    },
    {
        "PatientName": "Hu^Ping",
        "PatientID": "P_2",
        "StudyDate": "20240201",
        "StudyTime": "1015",
        "StudyDescription": "c%t",
    },
    {
        "PatientName": "MÜLLER^Ana",
        "PatientID": "P%3",
        "StudyDate": "20231231",
        "StudyTime": "235959.5",
        "StudyDescription": "C",
    },
    {"PatientName": "Hu^T=胡^通", "PatientID": "p1", "StudyDate": "", "StudyTime": "", "StudyDescription": ""},
    {"PatientName": "", "PatientID": "P12", "StudyDate": "20240131", "StudyTime": "00", "StudyDescription": "Chest"},
]


KEYWORDS = [name for key in KEYS for name in (key.keyword, key.tag)]


@pytest.fixture
def stored(ingest: Ingest, access: Access, make_instance: Make) -> None:
    files = [
        make_instance(study=f"1.2.{n}", SpecificCharacterSet="ISO_IR 192", **values) for n, values in enumerate(STUDIES)
    ]
    assert len(ingest.receive(access, [Received(chunks=[file]) for file in files]).stored) == len(STUDIES)


def pattern(text: str, value: str) -> bool:
    """DICOM's wildcards; a bracket means itself."""
    return bool(
        re.fullmatch(fnmatch.translate(re.sub(r"([\[\]])", r"[\1]", text)).replace(r"\Z", ""), value, re.DOTALL)
    )


def instant(value: str, fill: str) -> str:
    """A time as twelve digits; what is missing is ``fill``."""
    return value.replace(".", "").ljust(12, fill) if value else ""


def within(value: str, low: str, high: str) -> bool:
    return bool(value) and (not low or value >= low) and (not high or value <= high)


def matches(name: str, text: str, values: dict[str, Any]) -> bool:
    value = values[name]
    if not text.strip("*"):
        return True
    if name == "PatientName":
        folded = fold_name(value)
        return any(pattern(fold_name(text), group) for group in {folded, *folded.split("=")})
    if name in ("StudyDate", "StudyTime"):
        low, dash, high = text.partition("-")
        high = high if dash else low
        if name == "StudyDate":
            return within(value, low, high)
        return within(instant(value, "0"), instant(low, "0"), instant(high, "9"))
    return pattern(text, value)


def all_match(asked: dict[str, str], values: dict[str, Any]) -> bool:
    """PS3.4 C.2.2.2; ranges of date and time of one form are one range."""
    date, time = asked.get("StudyDate", "").partition("-"), asked.get("StudyTime", "").partition("-")
    if date[1] and [bool(part) for part in date] == [bool(part) for part in time]:
        low = date[0] + instant(time[0], "0") if date[0] else ""
        high = date[2] + instant(time[2], "9") if date[2] else ""
        value = values["StudyDate"] and values["StudyDate"] + instant(values["StudyTime"] or "0", "0")
        if not within(value, low, high):
            return False
        asked = {name: text for name, text in asked.items() if name not in ("StudyDate", "StudyTime")}
    return all(matches(name, text, values) for name, text in asked.items())


texts = st.text("PpHu12_%C*?c tTg^", min_size=1, max_size=5).filter(lambda t: t == t.strip() and t.strip("^ "))
dates = st.sampled_from(["20231231", "20240131", "20240201"])
times = st.sampled_from(["00", "1015", "101500", "235959.5", "23"])


def ranges(ends: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(st.builds("{}-{}".format, ends, ends), ends.map("{}-".format), ends.map("-{}".format))


keys = st.one_of(
    st.tuples(st.sampled_from(["PatientName", "PatientID", "StudyDescription"]), texts),
    st.tuples(st.just("StudyDate"), st.one_of(dates, ranges(dates))),
    st.tuples(st.just("StudyTime"), st.one_of(times, ranges(times))),
)


@given(st.lists(keys, max_size=3, unique_by=lambda k: k[0]))
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@pytest.mark.usefixtures("stored")
def test_studies_are_found_as_worked_out(database: Database, access: Access, asked: list[tuple[str, str]]) -> None:
    answer = query.search(database, access, query.parse("study", asked, {}), "http://x")
    found = sorted(orjson.loads(result)["0020000D"]["Value"][0] for result in answer.results)
    expected = [f"1.2.{n}" for n, values in enumerate(STUDIES) if all_match(dict(asked), values)]
    assert found == sorted(expected)


FLAGS = ["limit", "offset", "includefield", "fuzzymatching", "emptyvaluematching", "00080201"]
odd_texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.text('*?\\\\=^%_- "0123456789.,+', max_size=14),
    st.sampled_from(["true", "9" * 18, "-" + "9" * 18, "1e399", "0" * 300, "*a" * 40, "20240131", "240000", "+1400"]),
)


@given(
    st.sampled_from(["study", "series", "instance"]),
    st.lists(st.tuples(st.sampled_from([*FLAGS, *KEYWORDS]) | st.text(max_size=9), odd_texts), max_size=4),
)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.usefixtures("stored")
def test_any_parameters_are_answered_or_refused_with_a_reason(
    database: Database, access: Access, level: Level, parameters: list[tuple[str, str]]
) -> None:
    try:
        answer = query.search(database, access, query.parse(level, parameters, {}), "http://x")
    except BadRequest as error:
        assert error.details
        return
    assert all(orjson.loads(result) for result in answer.results)


def test_more_patterns_than_anybody_needs_are_refused(database: Database, access: Access) -> None:
    for key in ("PatientID", "PatientName", "Modality"):
        asked = query.parse("series", [(key, "\\".join(f"*{n}" for n in range(1000)))], {})
        with pytest.raises(BadRequest, match="at most"):
            query.search(database, access, asked, "http://x")
    uids = query.parse("series", [("SeriesInstanceUID", ",".join(f"1.2.{n}" for n in range(5000)))], {})
    assert query.search(database, access, uids, "http://x").results == []


@pytest.mark.usefixtures("stored")
def test_an_answer_with_headers_ends_and_is_gone_on_with_by_offset(
    database: Database, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(**more: str) -> tuple[list[str], tuple[str, ...]]:
        asked = query.parse("instance", [("includefield", "all"), *more.items()], {})
        answer = query.search(database, access, asked, "http://x")
        return [orjson.loads(result)["00080018"]["Value"][0] for result in answer.results], answer.warnings

    every, warnings = ask()
    assert (len(every), warnings) == (len(STUDIES), ())
    assert ask(limit="2") == (every[:2], ())
    monkeypatch.setattr(query, "_PAGE", 2)
    assert ask() == (every, ())
    monkeypatch.setattr(query, "MOST_BYTES", 1)
    first, warnings = ask()
    assert first == every[:2] and "offset" in warnings[0]
    assert ask(offset="4") == (every[4:], ())


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(("level", "unique"), [("study", "0020000D"), ("series", "0020000E"), ("instance", "00080018")])
@pytest.mark.parametrize("key", [("PatientID", "*"), ("PatientID", "P*"), ("StudyInstanceUID", "1.2.0,1.2.1,1.2.3")])
def test_pages_add_up_to_the_whole(
    database: Database, access: Access, level: Level, unique: str, key: tuple[str, str]
) -> None:
    def ask(*more: tuple[str, str]) -> list[str]:
        answer = query.search(database, access, query.parse(level, [key, *more], {}), "http://x")
        return [orjson.loads(result)[unique]["Value"][0] for result in answer.results]

    pages = [ask(("limit", "2"), ("offset", str(offset))) for offset in (0, 2, 4)]
    assert [uid for page in pages for uid in page] == ask()
