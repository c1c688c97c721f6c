"""Languages, names, dates, numbers and resources as the results page words them."""

import json
import re
import string
import tomllib
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fhir_profiles
from server.http import wording
from server.http.wording import Wording
from terminology.codings import Coding

TEXTS = json.loads((Path(wording.__file__).with_name("words.json")).read_text(encoding="utf-8"))


def test_both_languages_say_the_same_things() -> None:
    assert TEXTS["en"].keys() == TEXTS["zh"].keys()
    for key, english in TEXTS["en"].items():
        assert _places(english) == _places(TEXTS["zh"][key]), key


def _places(text: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(text)} - {None}


@pytest.mark.parametrize(
    ("asked", "kept", "accept", "chosen"),
    [
        ("zh", "en", "en", "zh"),
        (None, "zh", "en", "zh"),
        (None, None, "zh-TW;q=0.3, en-GB;q=0.2, fr", "zh"),
        (None, None, "en;q=0.9,zh;q=0", "en"),
        ("fr", None, "", "en"),
        (None, None, "zh;q=high", "en"),
    ],
)
def test_language(asked: str | None, kept: str | None, accept: str, chosen: str) -> None:
    assert wording.language(asked, kept, accept) == chosen


@given(st.text(), st.text())
def test_language_is_always_one_that_the_page_speaks(asked: str, accept: str) -> None:
    assert wording.language(asked, None, accept) in wording.LANGUAGES


@pytest.mark.parametrize(
    ("name", "english", "chinese"),
    [
        ("Wang^XiaoDong=王^小东", "Wang, XiaoDong", "王小东"),
        ("Adams^John Robert Quincy^^Rev.", "Adams, John Robert Quincy", "Adams, John Robert Quincy"),
        ("=山田^太郎=やまだ^たろう", "山田太郎", "山田太郎"),
        ("", "(no name)", "（无姓名）"),
        ("^^^", "(no name)", "（无姓名）"),
        ("Phantom", "Phantom", "Phantom"),
    ],
)
def test_person_name(name: str, english: str, chinese: str) -> None:
    assert Wording(language="en").person(name) == english
    assert Wording(language="zh").person(name) == chinese


def test_codes_are_worded_in_chinese_where_there_is_a_word() -> None:
    nodule = Coding(value="27925004", scheme="SCT", meaning="Nodule")
    other = Coding(value="1", scheme="99X", meaning="Something else")
    assert Wording(language="zh").code(nodule) == "结节"
    assert Wording(language="en").code(nodule) == "Nodule"
    assert Wording(language="zh").code(other) == "Something else"


def test_numbers_dates_and_units() -> None:
    assert wording.number(8.04, "mm") == "8.0"
    assert wording.number(904.8, "mm3") == "905"
    assert wording.number(0.12345, "1") == "0.1235"
    assert wording.unit("mm3") == "mm³"
    assert wording.date("20260102") == wording.date("2026.01.02") == "2026-01-02"
    assert wording.date("2026") == "2026"
    assert wording.date("") == ""
    east = timezone(timedelta(hours=8))
    assert wording.moment(datetime(2026, 1, 2, 8, 0, 1, tzinfo=east)) == "2026-01-02 00:00:01 UTC"
    assert wording.moment(datetime(2026, 1, 2, tzinfo=UTC)) == "2026-01-02 00:00:00 UTC"


def test_count() -> None:
    words = Wording(language="en")
    assert [words.count(number) for number in (0, 1, 2)] == ["nothing found", "1 finding", "2 findings"]


def test_unknown_task_status_stands_as_it_is() -> None:
    assert Wording(language="zh").state("completed") == "已完成"
    assert Wording(language="zh").state("new-status") == "new-status"


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (
            {
                "resourceType": "Observation",
                "code": {"coding": [{"display": "eGFR"}]},
                "valueQuantity": {"value": "57.5", "unit": "mL/min"},
                "component": [{"code": {"text": "stage"}, "valueCodeableConcept": {"coding": [{"code": "G3a"}]}}],
            },
            [("eGFR", "57.5 mL/min"), ("stage", "G3a")],
        ),
        (
            {
                "resourceType": "CarePlan",
                "title": "Plan",
                "description": "What to do",
                "activity": [{"detail": {"code": {"text": "CT"}, "scheduledPeriod": {"start": "2026-04-01"}}}],
                "note": [{"text": "By a machine"}],
            },
            [("Plan", "Plan"), ("", "What to do"), ("due", "2026-04-01"), ("", "CT"), ("", "By a machine")],
        ),
        (
            {
                "resourceType": "ServiceRequest",
                "code": {"text": "CT"},
                "occurrencePeriod": {"start": "2026-04-01T00:00:00Z", "end": "2026-05-01"},
            },
            [("Proposed", "CT"), ("due", "2026-04-01 – 2026-05-01")],
        ),
        ({"resourceType": "Observation"}, [("", "")]),
    ],
)
def test_facts_of_a_resource(resource: dict[str, object], expected: list[tuple[str, str]]) -> None:
    assert [(fact.label, fact.text) for fact in wording.facts(resource, Wording(language="en"))] == expected


def test_times_as_people_read_them() -> None:
    assert wording.instant("2026-04-02T10:11:12.345+08:00") == "2026-04-02 02:11:12 UTC"
    assert (wording.instant("2026-04-02"), wording.instant("")) == ("2026-04-02", "")
    words = Wording(language="en")
    request = {"resourceType": "ServiceRequest", "code": {"text": "CT"}, "occurrenceDateTime": "2026-04-02T10:11:00Z"}
    assert [fact.text for fact in wording.facts(request, words)] == ["CT", "2026-04-02"]
    spoken = {"resourceType": "ServiceRequest", "code": {"text": "CT"}, "scheduledString": "in spring, by Tuesday"}
    assert [fact.text for fact in wording.facts(spoken, words)] == ["CT", "in spring, by Tuesday"]


def test_what_a_pathway_says_is_said_in_chinese() -> None:
    resource = {
        "resourceType": "ServiceRequest",
        "code": {"text": "Probably benign (3): low-dose CT in 6 months."},
        "occurrencePeriod": {"start": "2026-04-01", "end": "2026-05-01"},
        "note": [{"text": "ACR Lung-RADS v2022, row solid-8-to-15-baseline"}],
    }  # fmt: skip
    said = list(wording.facts(resource, Wording(language="zh")))
    assert [one.label for one in said] == ["建议", "日期", ""]
    assert said[0].text == "可能良性（3）：6 个月后低剂量 CT。"
    assert said[1].text == "2026-04-01 – 2026-05-01"
    words = Wording(language="zh")
    assert words.phrase("solid, 6 to < 8 mm (113 to < 268 mm3), at baseline") == (
        "实性，6 至 < 8 mm (113 至 < 268 mm3)，基线"
    )
    for free in ("something that nobody translated", "see him soon, please: by Dr A; B"):
        assert words.phrase(free) == free
    assert Wording(language="en").phrase("solid, at baseline") == "solid, at baseline"


#: Names that are the same in Chinese, and units.
_NAMES = re.compile(r"ACR|C-Lung-RADS|Lung-RADS|Fleischner|PET|CT|mm3?|\b[A-Z]?\d\w*")
TABLES = sorted((Path(fhir_profiles.__file__).parent / "lung_nodule" / "tables").glob("*.toml"))


@pytest.mark.parametrize("path", [one for one in TABLES if "models" not in one.name], ids=lambda path: str(path.stem))
def test_every_row_of_a_guideline_has_its_chinese(path: Path) -> None:
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    entries = [*table["category"], *table["row"], *table.get("management", ()), *table.get("statement", ())]
    texts = [entry[name] for entry in entries for name in ("display", "recommendation", "text") if name in entry]
    texts.append(f"{table['title']} assessment category")
    texts += [entry["afterwards"] for entry in entries if "afterwards" in entry]
    words = Wording(language="zh")
    left = {text: said for text in texts if re.search("[A-Za-z]{2,}", _NAMES.sub("", said := words.phrase(text)))}
    assert len(texts) > 10 and left == {}
