"""Weights and grades of $match, on pairs that a person can judge."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.operations.match_name import names_alike, similarity
from server.operations.match_score import likeness

LI: dict[str, Any] = {
    "resourceType": "Patient",
    "identifier": [{"system": "urn:mrn", "value": "1"}],
    "name": [{"family": "Chalmers", "given": ["Peter", "James"]}],
    "birthDate": "1974-12-25",
    "gender": "male",
    "telecom": [{"system": "phone", "value": "+86 138-1234-5678"}, {"system": "email", "value": "P@example.org"}],
    "address": [{"line": ["534 Erewhon St"], "city": "Pleasantville", "postalCode": "3999"}],
}


def without(*names: str, **more: Any) -> dict[str, Any]:
    return {name: value for name, value in {**LI, **more}.items() if name not in names}


@pytest.mark.parametrize(
    ("asked", "grade"),
    [
        (LI, "certain"),
        # One identifier is enough, unless something speaks against it.
        ({"identifier": LI["identifier"]}, "certain"),
        (without(birthDate="1980-01-01"), "probable"),
        (without(birthDate="1980-01-01", name=[{"family": "Other", "given": ["Ann"]}], gender="female"), "possible"),
        # Without an identifier: name and birth date with a contact or an address.
        (without("identifier"), "certain"),
        (without("identifier", "telecom"), "certain"),
        (without("identifier", "telecom", "address"), "probable"),
        (without("identifier", "telecom", "address", "gender"), "probable"),
        (without("identifier", identifier=[{"system": "urn:mrn", "value": "2"}]), "certain"),
        # The value of another system says nothing, nor does one without a system.
        ({"identifier": [{"system": "urn:other", "value": "1"}]}, "certainly-not"),
        ({"identifier": [{"value": "1"}]}, "certainly-not"),
        # Misspelt, exchanged, less precise.
        (without("identifier", name=[{"family": "Chalmrs", "given": ["Peter"]}]), "probable"),
        (without("identifier", "telecom", "address", birthDate="1974-25-12"), "possible"),
        (without("identifier", "telecom", "address", birthDate="1974"), "possible"),
        # A name that is one of many: the maiden name, or after marriage.
        (without("identifier", name=[{"family": "X"}, {"text": "Peter James CHALMERS"}]), "certain"),
        (without("identifier", name=[{"family": "Smith", "given": ["Peter"]}]), "probable"),
        # A name alone, or a birth date alone.
        ({"name": LI["name"]}, "certainly-not"),
        ({"birthDate": LI["birthDate"], "gender": "male"}, "certainly-not"),
        # Twins share all but the given name, or the order of birth.
        (without("identifier", name=[{"family": "Chalmers", "given": ["John"]}]), "possible"),
        ({}, "certainly-not"),
    ],
)
def test_grades(asked: dict[str, Any], grade: str) -> None:
    found = likeness(asked, LI)
    assert found.grade == grade, found


def test_one_of_a_birth_is_not_the_other() -> None:
    twins = [without("identifier", multipleBirthInteger=number) for number in (1, 2)]
    assert likeness(*twins).grade == "probable" and likeness(twins[0], twins[0]).grade == "certain"


@pytest.mark.parametrize(
    ("one", "other", "finding"),
    [
        ({"family": "王", "given": ["小明"]}, {"text": "王小明"}, "same"),
        ({"text": "王 小明"}, {"family": "王", "given": ["小", "明"]}, "same"),
        ({"family": "欧阳", "given": ["娜"]}, {"text": "欧阳娜"}, "same"),
        ({"text": "王小明"}, {"text": "王小朋"}, "given"),
        ({"text": "王明"}, {"text": "王芳"}, "family"),
        ({"text": "王小明"}, {"text": "李小明"}, "other"),
        ({"text": "王小明"}, {"text": "Wang Xiaoming"}, ""),
        ({"family": "Müller", "given": ["Jörg"]}, {"family": "MULLER", "given": ["Jorg"]}, "same"),
        ({"family": "Li", "given": ["Wei"]}, {"family": "Wei", "given": ["Li"]}, "same"),
        ({"family": "Smith", "given": ["J."]}, {"family": "Smith", "given": ["John"]}, "near"),
        ({"family": "Smith", "given": ["John", "Paul"]}, {"family": "Smith", "given": ["John"]}, "same"),
        ({"family": "O'Neill", "given": ["Ann"]}, {"family": "ONeill", "given": ["Ann"]}, "same"),
        ({"family": "Smith", "given": ["Ann"]}, {"family": "Jones", "given": ["Ann"]}, "given"),
        ({"family": "Smith", "given": ["Ann"]}, {"family": "Smith", "given": ["Bob"]}, "family"),
        ({"text": "Chalmers^Peter"}, {"family": "Peter", "given": ["Chalmers"]}, "same"),
        ({}, {"text": "x"}, ""),
    ],
)
def test_names(one: dict[str, Any], other: dict[str, Any], finding: str) -> None:
    assert names_alike([one], [other]) == names_alike([other], [one]) == finding


def test_similarity_of_words() -> None:
    """The examples of Winkler's paper."""
    assert similarity("martha", "marhta") == pytest.approx(0.9611, abs=1e-4)
    assert similarity("dwayne", "duane") == pytest.approx(0.84, abs=1e-4)
    assert similarity("dixon", "dicksonx") == pytest.approx(0.8133, abs=1e-4)
    assert similarity("abc", "xyz") == 0 and similarity("a", "") == 0


_TEXT = st.text("ab王明 É-1", max_size=6)
_PATIENTS = st.fixed_dictionaries(
    {},
    optional={
        "identifier": st.lists(st.fixed_dictionaries({"system": _TEXT, "value": _TEXT}), max_size=2),
        "name": st.lists(
            st.fixed_dictionaries({}, optional={"family": _TEXT, "text": _TEXT, "given": st.lists(_TEXT, max_size=2)}),
            max_size=2,
        ),
        "birthDate": st.sampled_from(["1970", "1970-01", "1970-01-02", "1970-02-01", "1980-01-02"]),
        "gender": st.sampled_from(["male", "female", "unknown", "other"]),
        "telecom": st.lists(st.fixed_dictionaries({"value": st.text("12@a", max_size=8)}), max_size=2),
        "address": st.lists(
            st.fixed_dictionaries({}, optional={"city": _TEXT, "line": st.lists(_TEXT), "text": _TEXT}), max_size=2
        ),
    },
)


@given(_PATIENTS, _PATIENTS)
def test_it_does_not_matter_who_is_asked_for(one: dict[str, Any], other: dict[str, Any]) -> None:
    found = likeness(one, other)
    assert found == likeness(other, one) and 0 <= found.score <= 1
    assert "other" not in likeness(one, one).evidence.values()
