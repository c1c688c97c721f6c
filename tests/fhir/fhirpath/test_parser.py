"""Expressions as text: what is taken, what is refused and where, and that nothing else ever happens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import BadRequest, HutongError
from server.fhir.fhirpath import compile_expression
from server.fhir.fhirpath.lexer import tokens
from server.fhir.fhirpath.parser import parse
from server.fhir.fhirpath.syntax import Literal, Member, Operation, Polarity, TypeOperation

NOTHING = {"resourceType": "Basic"}


def test_operators_bind_as_the_table_of_precedence_says() -> None:
    assert parse("a | b = c and d") == Operation(
        "and",
        Operation("=", Operation("|", Member(None, "a"), Member(None, "b")), Member(None, "c")),
        Member(None, "d"),
    )
    assert parse("1 - 2 - 3") == Operation("-", Operation("-", Literal((1,)), Literal((2,))), Literal((3,)))
    assert parse("a + b is Quantity") == TypeOperation(
        "is", Operation("+", Member(None, "a"), Member(None, "b")), "Quantity"
    )
    assert parse("-a.b") == Polarity("-", Member(Member(None, "a"), "b"))


def test_words_that_are_operators_may_name_elements() -> None:
    assert parse("expansion.contains") == Member(Member(None, "expansion"), "contains")
    assert parse("`div`.as") == Member(Member(None, "div"), "as")


def test_escapes_in_strings_and_names() -> None:
    assert parse(r"'it\'s \u00e9\n'") == Literal(("it's é\n",))
    assert parse(r"`a\`b`") == Member(None, "a`b")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("name.", "at character 6"),
        ("name given", "at character 6"),
        ("(name", "the end"),
        ("name.where(use = 'x'", "the end"),
        ("'unfinished", "at character 1"),
        ("1 + /* 2", "at character 5"),
        ("@2024-13", "at character 1"),
        ("@T25", "at character 1"),
        ("", "at character 1"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_place(text: str, place: str) -> None:
    with pytest.raises(BadRequest, match=place) as refused:
        parse(text)
    assert refused.value.issues[0].expression == text


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("name.wehre(use)", "no function wehre"),
        ("name.where()", "takes 1 arguments, not 0"),
        ("value is Quantitty.Thing", "no type namespace"),
        ("value.ofType(strnig)", "no type 'strnig'"),
        ("value.ofType(1)", "take a type name"),
    ],
)
def test_names_that_there_are_not_are_refused(text: str, cure: str) -> None:
    with pytest.raises(BadRequest, match=cure):
        compile_expression(text)


@pytest.mark.parametrize("text", ["(" * 5000, "-" * 5000 + "1", "1" + "+1" * 20000, "a" + ".a" * 20000])
def test_depth_is_an_answer_not_a_crash(text: str) -> None:
    with pytest.raises(HutongError):
        compile_expression(text).evaluate(NOTHING)


@given(st.text(alphabet="abc.()[]{}'`\\@T2024-:+*/|&<>=!~ $%is\n", max_size=40))
def test_any_text_is_taken_or_refused(text: str) -> None:
    try:
        compile_expression.__wrapped__(text).evaluate(NOTHING)  # type: ignore[attr-defined]
    except HutongError:
        return


@given(st.text(max_size=30))
def test_every_string_can_be_written_as_a_literal(text: str) -> None:
    escaped = "".join(f"\\u{ord(each):04x}" if each in "'\\" else each for each in text)
    assert parse(f"'{escaped}'") == Literal((text,))


def test_tokens_know_their_place() -> None:
    assert [(token.text, token.at) for token in tokens("a /* b */ . c")] == [("a", 0), (".", 10), ("c", 12), ("", 13)]
