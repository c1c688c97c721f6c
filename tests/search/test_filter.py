"""_filter: its grammar, and what it means for one resource. https://hl7.org/fhir/R4/search_filter.html"""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import BadRequest, HutongError, TooLarge, UnknownParameter
from server.fhir.definitions import load
from server.search.filter import Comparison, Logical, Negated, Step, parse
from server.search.find import Search

SEARCH = Search(load(), "http://here/fhir")
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "o1",
    "meta": {"lastUpdated": "2024-05-01T10:00:00.000Z"},
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "8302-2"}]},
    "subject": {"reference": "Patient/p1"},
    "effectivePeriod": {"start": "2024-02-01", "end": "2024-02-10"},
    "valueQuantity": {"value": Decimal("107"), "system": "http://unitsofmeasure.org", "code": "cm"},
}
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p1",
    "gender": "female",
    "birthDate": "1970-03-04",
    "name": [{"family": "Müller", "given": ["Ana María"]}, {"family": "Petrov"}],
    "link": [{"other": {"reference": "Patient/p2"}, "type": "seealso"}],
}


def resolve(target: str) -> dict[str, Any] | None:
    return {"Patient/p1": PATIENT, "Observation/o1": OBSERVATION}.get(target)


def holds(text: str, resource: dict[str, Any] = PATIENT) -> bool:
    return SEARCH.matches(resource, resource["resourceType"], [("_filter", text)], resolve=resolve)


def test_reads_from_left_to_right() -> None:
    a, b, c = (Comparison((Step(name),), "eq", "1") for name in "abc")
    assert parse("a eq 1 or b eq 1 and c eq 1") == Logical("and", Logical("or", a, b), c)
    assert parse("a eq 1 or (b eq 1 and c eq 1)") == Logical("or", a, Logical("and", b, c))
    assert parse("not (a eq 1) and b eq 1") == Logical("and", Negated(a), b)
    assert parse('a[b eq 1].c:Patient.d co "x y)"') == Comparison(
        (Step("a", "", b), Step("c", "Patient"), Step("d")), "co", "x y)"
    )
    assert parse(r'a eq "\"\u00e4"') == Comparison((Step("a"),), "eq", '"ä')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('name co "LLE"', True), ('name sw "mul"', True), ('name ew "ler"', True), ('name eq "muller"', True),
        ('name eq "mull"', False), ('family ne "petrov"', True), ('gender ne female', False), ("family gt n", True),
        ("family le m", False), ("birthdate ge 1970-03-04", True), ("birthdate sa 1970", False),
        ("birthdate po 1970-03", True), ("birthdate co 1970-03-04", True), ("birthdate co 1970-03", False),
        ("gender eq female and birthdate lt 1980", True), ("not (gender eq male)", True),
        ("gender eq male or gender eq female and birthdate gt 1980", False),
        ("gender eq female or (gender eq male and birthdate gt 1980)", True),
        ("address pr false", True), ("name pr true", True), ("_id eq p1", True), ("_id ne p1", False),
        ("gender in http://hl7.org/fhir/ValueSet/administrative-gender", True),
        ("gender ni http://hl7.org/fhir/ValueSet/administrative-gender", False),
        ("link re Patient/p2", True), ("link re Patient/p1", False), ("not(name eq x)", True),
    ],
)  # fmt: skip
def test_means_of_a_patient(text: str, expected: bool) -> None:
    assert holds(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("code eq loinc|8302-2", True), ("code eq snomed|8302-2", False), ("code eq http://loinc.org|8302-2", True),
        ("date po 2024-02-05", True), ("date co 2024-02-05", True), ("date co 2024", False), ("date sa 2024-01", True),
        ("value-quantity gt 100", True), ("value-quantity eq 1.07|http://unitsofmeasure.org|m", True),
        ("code-value-quantity eq 8302-2$gt100", True), ("subject.name co mari", True),
        ("subject:Patient.gender eq male", False), ("subject[gender eq female].birthdate lt 1980", True),
        ("subject[gender eq male].birthdate lt 1980", False), ("_lastUpdated gt 2024", False),
        ("_lastUpdated ge 2024-05", True),
    ],
)  # fmt: skip
def test_means_of_an_observation(text: str, expected: bool) -> None:
    assert holds(text, OBSERVATION) == expected


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("  ", BadRequest, "a search parameter"), ("name", BadRequest, "an operator"),
        ("name xx 1", BadRequest, "pr, po"),
        ("name eq", BadRequest, "a value"), ('name eq "a', BadRequest, "a closed string"),
        ("(name eq a", BadRequest, "')'"),
        ("name eq a)", BadRequest, "'and', 'or' or the end"), ("name[family eq a] eq b", BadRequest, "a step behind"),
        ("nmae eq a", UnknownParameter, "nearest: name"), ("name gt.x eq a", BadRequest, ""),
        ("gender co a", UnknownParameter, "known: pr, eq"), ("birthdate eq x", BadRequest, "A date is"),
        ("name.x eq a", BadRequest, "no reference"), ("(" * 60 + "name eq a", TooLarge, "deep"),
        ("name eq " + "a" * 30000, TooLarge, "characters"), ("address pr maybe", BadRequest, "true or false"),
    ],
)  # fmt: skip
def test_says_what_is_wrong(text: str, error: type[HutongError], says: str) -> None:
    with pytest.raises(error) as refused:
        holds(text)
    assert says in refused.value.details


@given(st.text(st.sampled_from('name eqcoandorut()[]."1 |:$,\\'), max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except HutongError as error:
        assert [issue.expression for issue in error.issues] == ["_filter"]
