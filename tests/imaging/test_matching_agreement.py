"""Matching in SQL equals matching in memory, whatever the values and keys; and names of every script are found."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.errors import BadRequest
from server.imaging import criterion
from server.imaging.attributes import fold_name
from server.imaging.criterion import glob, matches, parse
from server.imaging.dataset import Attributes
from server.imaging.extended_tags import enter_names, values_of
from server.imaging.find import find
from server.imaging.ingest import Ingest, Received
from server.imaging.person_name import name_text
from server.security.access import Access
from server.store import extended_tags as store
from server.store.conditions import Condition, Criterion, Declared, DeclaredCondition, clause
from server.store.database import Database, UnitOfWork
from server.store.extended_tags import ExtendedTag
from server.store.instances import InstanceRow, PatientRow

Make = Callable[..., bytes]
letters = "aAbB%_\\^ 王小é*?="
texts = st.text(letters.replace("*", "").replace("?", "").replace("\\", ""), min_size=1, max_size=6)
names = st.dictionaries(st.sampled_from(["Alphabetic", "Ideographic", "Phonetic"]), st.text("aAbÄ王小^ ", max_size=6))
digits = st.integers(0, 99).map("{:02d}".format)
dates = st.builds("20{}0{}1{}".format, digits, st.integers(1, 9), st.integers(0, 9))
times = st.builds(
    lambda h, m, s, f, size: f"{h % 24:02d}{m:02d}{s:02d}.{f:06d}"[:size],
    *(st.integers(0, 59), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999999)),
    st.sampled_from([2, 4, 6, 8, 13]),
)
offsets = st.sampled_from(["", "+0800", "-0530", "+0000"])
moments = st.one_of(
    st.builds("{}{}{}".format, dates, times, offsets).filter(lambda text: "." not in text or text.find(".") == 14),
    dates,
    dates.map(lambda text: text[:6]),
)
numbers = st.one_of(st.integers(-3, 3), st.sampled_from([1.5, 1.25, 1e-3]))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("LO", "SH", "UT"), texts),
    "CS": st.text("AB_ ", min_size=1, max_size=3),
    "PN": names,
    "UI": st.sampled_from(["1.2", "1.2.3", "1.20"]),
    **{"DA": dates, "TM": times, "DT": moments, "DS": numbers, "US": st.integers(0, 3), "AS": st.just("040Y")},
}


def keys(vr: str, values: list[Any]) -> st.SearchStrategy[str]:
    """Key texts that have a chance: a value, a part of one with wildcards, a range of two, or anything."""
    known = [name_text(value) if vr == "PN" else str(value) for value in values if value is not None] or ["x"]
    one = st.sampled_from(known)
    if vr in ("DA", "TM", "DT"):
        one = one | VALUES[vr]
        return st.one_of(one, st.builds("{}-{}".format, one, one), one.map("{}-".format), one.map("-{}".format))
    if vr in criterion.WILDCARDS:
        part = st.builds(lambda text, a, b: text[min(a, b) : max(a, b)], one, st.integers(0, 6), st.integers(0, 6))
        return st.one_of(one, part.map("*{}*".format), part.map("{}*".format), part.map("?{}".format), texts)
    return st.one_of(one, st.lists(one, min_size=2, max_size=3).map("\\".join))


@st.composite
def examples(draw: st.DrawFn) -> tuple[str, list[list[Any]], str, bool, bool]:
    """A VR, the values of some entities, a key, and whether fuzzy and empty matching are asked for."""
    vr = draw(st.sampled_from(sorted(VALUES)))
    entities = draw(st.lists(st.lists(VALUES[vr], max_size=2), min_size=1, max_size=6))
    key = draw(keys(vr, [value for values in entities for value in values]))
    empty = draw(st.booleans())
    return vr, entities, '""' if empty and draw(st.booleans()) else key, draw(st.booleans()), empty


@pytest.fixture
def uow(database: Database) -> Iterator[UnitOfWork]:
    """A transaction that leaves nothing behind."""
    with database.unit_of_work() as opened:
        yield opened


def _row(instance: str, metadata: bytes) -> InstanceRow:
    unused: dict[str, Any] = dict.fromkeys(InstanceRow.__slots__, None)
    return InstanceRow(**unused | {"instance": instance, "study": "", "series": "", "metadata": metadata})


@given(examples())
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_declared_values(uow: UnitOfWork, example: tuple[str, list[list[Any]], str, bool, bool]) -> None:
    vr, entities, key, fuzzy, empty = example
    wanted = _parsed(vr, key, fuzzy=fuzzy, empty=empty)
    if wanted is None:
        return
    tag = ExtendedTag(tag=7, path="00091001", creator="", vr=vr, level="instance", ready=True, indexed=0)
    for number, values in enumerate(entities):
        metadata = orjson.dumps({"00091001": {"vr": vr, "Value": values}})
        store.add_values(uow, 1, values_of([tag], _row(str(number), metadata)))
    condition = DeclaredCondition(
        level="instance", keys=(Declared(tag=7, criterion=wanted, number=vr in criterion.NUMBERS),)
    )
    found = _found(uow, condition, "i(instance, other)", [[str(n) for n in range(len(entities))], None])
    uow.driver.execute("delete from attribute_value")
    assert found == [str(n) for n, values in enumerate(entities) if matches(wanted, vr, values)]


COLUMNS = {"LO": "study.description", "DA": "study.study_date", "TM": "study.study_time", "UI": "study.study_id"}


@given(st.sampled_from(sorted(COLUMNS)), st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_columns(uow: UnitOfWork, vr: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.one_of(VALUES[vr].map(str.strip), st.just("")), min_size=1, max_size=6))
    wanted = _parsed(vr, data.draw(keys(vr, values)), empty=data.draw(st.booleans()))
    if wanted is None:
        return
    name = COLUMNS[vr].partition(".")[2]
    condition = Condition(column=COLUMNS[vr], criterion=wanted)
    found = _found(uow, condition, f"s(study, {name})", [[str(n) for n in range(len(values))], values])
    assert found == [str(n) for n, value in enumerate(values) if matches(wanted, vr, [value])]


@given(st.lists(names, min_size=1, max_size=5), st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_patient_names(uow: UnitOfWork, people: list[dict[str, str]], data: st.DataObject) -> None:
    wanted = _parsed("PN", data.draw(keys("PN", list(people))), fuzzy=data.draw(st.booleans()))
    if wanted is None:
        return
    folded = [fold_name(name_text(person)) for person in people]
    unused: dict[str, Any] = dict.fromkeys(PatientRow.__slots__, "")
    enter_names(
        uow, 1, [PatientRow(**unused | {"patient": str(n), "name_folded": f}) for n, f in enumerate(folded)], []
    )
    condition = Condition(column="patient.name_folded", criterion=wanted)
    found = _found(uow, condition, "p(patient, name_folded)", [[str(n) for n in range(len(people))], folded])
    uow.driver.execute("delete from attribute_value")
    assert found == [str(n) for n, person in enumerate(people) if matches(wanted, "PN", [person])]


def _parsed(vr: str, key: str, *, fuzzy: bool = False, empty: bool = False) -> Criterion | None:
    try:
        return parse(vr, key, "Key", fuzzy=fuzzy, empty=empty)
    except BadRequest:
        return None


def _found(uow: UnitOfWork, condition: Any, shape: str, columns: list[list[str] | None]) -> list[str]:
    """The first column of the rows that the condition holds for."""
    parameters: list[Any] = []
    where = clause(condition, 1, parameters)
    first = shape.partition("(")[2].partition(",")[0]
    source = f'unnest(%s::text[] collate "C", %s::text[] collate "C") as {shape}'
    sql = f"select {shape[0]}.{first} from {source} where {where}"
    given_columns = [columns[0], columns[1] or columns[0]]
    return sorted((row[0] for row in uow.driver.execute(sql.encode(), (*given_columns, *parameters))), key=int)


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_wildcards_mean_what_a_regular_expression_means(pattern: str, text: str) -> None:
    expression = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern)
    assert glob(pattern, text) == bool(re.fullmatch(expression, text))


def test_a_hostile_pattern_is_over_soon() -> None:
    assert not glob("*a" * 2000 + "b", "a" * 4000)


@pytest.mark.parametrize(
    ("charset", "name", "asked"),
    [
        ("GB18030", "Wang^XiaoDong=王^小东", "王*"),
        ("GBK", "Wang^XiaoDong=王^小东", "王^小东"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小东", "*小东"),
        (["", "ISO 2022 IR 58"], "Zhang^XiaoDong=张^小东", "张^小?"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "山田*"),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう", "やまだ^*"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동", "홍^길동"),
        ("ISO_IR 100", "Buc^Jérôme", "BUC^JEROME"),
        ("ISO_IR 144", "Люкceмбypг", "люк*"),
    ],
)
def test_names_of_every_script_are_found(
    database: Database,
    ingest: Ingest,
    access: Access,
    make_instance: Make,
    charset: str | list[str],
    name: str,
    asked: str,
) -> None:
    files = [
        make_instance(1, SpecificCharacterSet=charset, PatientName=name),
        make_instance(1, study="1.2.4", PatientID="P2"),
    ]
    assert len(ingest.receive(access, [Received(chunks=[file]) for file in files]).stored) == 2
    keys_asked: Attributes = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": asked}]}, "0020000D": {"vr": "UI"}}
    found = [result["0020000D"]["Value"] for result in find(database, access, "STUDY", keys_asked)]
    assert found == [["1.2.3"]]
