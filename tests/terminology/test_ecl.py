"""Expression constraints of SNOMED CT as conditions, and any text as one or as a refusal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminology.condition import EVERY, Above, Below, Codes, Every, Having, Leading, Not, Some
from terminology.ecl import parse
from terminology.errors import TerminologyError

A, B, C = "73211009", "404684003", "363698007"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (A, Codes(frozenset({A}))),
        (f"<<{A} |Diabetes (with bars, and : signs)|", Below(A)),
        (f"< {A}", Below(A, itself=False)),
        (f">> {A}", Above(A)),
        (f"> {A}", Above(A, itself=False)),
        (f"<! {A}", Having("parent", frozenset({A}))),
        (f">! {A}", Having("child", frozenset({A}))),
        (f"^{A}", Having("memberOf", frozenset({A}))),
        ("*", EVERY),
        (f"{A} OR {B}", Some((Codes(frozenset({A})), Codes(frozenset({B}))))),
        (f"< {A} and << {B}", Every((Below(A, itself=False), Below(B)))),
        (f"<< {A} MINUS ({B} or {C})", Every((Below(A), Not(Some((Codes(frozenset({B})), Codes(frozenset({C})))))))),
        (f"<< {A} : {C} = << {B}", Every((Below(A), Leading(C, Below(B))))),
        (f"* : {C} = *", Having(C)),
        (f"<< {A} : {C} != {B}", Every((Below(A), Leading(C, Not(Codes(frozenset({B}))))))),
    ],
)
def test_what_is_read(text: str, expected: object) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "<", f"<< ({A})", f"({A}", f"{A})", f"{A} OR {B} AND {C}", f"{A} MINUS {B} MINUS {C}", f"{A} : {B}",
        f"{A} : {{ {B} = {C} }}", f"{A} : [0..1] {B} = {C}", f"{A} . {B}", f"{A} : {B} = #5", "(" * 50 + A + ")" * 50,
        f"{A} {{{{ +HISTORY }}}}", "x" * 5000,
    ],
)  # fmt: skip
def test_what_is_not_read_is_refused(text: str) -> None:
    with pytest.raises(TerminologyError):
        parse(text)


@given(
    st.lists(
        st.sampled_from([A, B, "<<", "<!", "(", ")", ":", "=", "!=", "AND", "or", "MINUS", "^", "*", ",", "|", "x"])
    )
)
def test_any_text_is_a_condition_or_a_refusal(tokens: list[str]) -> None:
    try:
        parse(" ".join(tokens))
    except TerminologyError:
        return
