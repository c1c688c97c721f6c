"""GraphQL text to documents."""

from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import BadRequest, TooLarge
from server.fhir.graphql import Directive, EnumValue, Field, InlineFragment, Spread, Variable, parse
from server.fhir.graphql.lexer import tokens


def one(text: str) -> Field:
    (found,) = parse(text).operations[0].selections
    assert isinstance(found, Field)
    return found


def test_fields_aliases_arguments_and_directives() -> None:
    field = one(
        '{ a: name(use: official, _count: 2, x: -1.5e3, y: [1, "b"], z: {k: null}, t: true, v: $v) @first { id } }'
    )
    assert (field.name, field.alias) == ("name", "a")
    assert field.arguments == {
        "use": EnumValue("official"), "_count": 2, "x": Decimal("-1.5e3"), "y": [1, "b"], "z": {"k": None}, "t": True,
        "v": Variable("v"),
    }  # fmt: skip
    assert field.directives == (Directive(name="first"),)
    assert field.selections == (Field(name="id", alias="id"),)


def test_queries_variables_and_fragments() -> None:
    text = """
    # a comment
    query one($a: [String!]!, $b: Int = 3) { ...f @include(if: $a) ... on Patient { id } ... { id } }
    query two { id }
    fragment f on Patient { name { given } }
    """
    document = parse(text)
    first, second = document.operations
    assert (first.name, second.name) == ("one", "two")
    assert [(v.name, v.required, v.default) for v in first.variables] == [("a", True, None), ("b", False, 3)]
    spread, on, bare = first.selections
    assert isinstance(spread, Spread) and isinstance(on, InlineFragment) and isinstance(bare, InlineFragment)
    assert (spread.name, on.type, bare.type) == ("f", "Patient", "")
    assert document.fragments["f"].type == "Patient"


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        (r'"a\n\"\u00e9\\"', 'a\n"é\\'),
        ('""', ""),
        ('"""\n    one\n      two\n\n    three "x"\n  """', 'one\n  two\n\nthree "x"'),
        ('"""a \\""" b"""', 'a """ b'),
    ],
)
def test_strings(literal: str, value: str) -> None:
    assert one(f"{{ a(b: {literal}) }}").arguments == {"b": value}


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "{}", "{ a", "{ a( }", "{ a(b:) }", "{ a(b: 1, b: 2) }", "mutation { a }", "subscription { a }",
        "{ a } { b }", "query x { a } query x { b }", "fragment on on X { a }", "fragment f on X { a }",
        "{ a } fragment f on X { a } fragment f on X { b }", '{ a(b: "x) }', "{ a(b: 01) }", "{ a(b: 1x) }",
        "{ a(b: 1.) }", r'{ a(b: "\q") }', r'{ a(b: "\ud800") }', "{ a ; }", "query ($a: ) { a }",
        "query ($a: Int = $b) { a }", "{ ... }", "{ a @ }",
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(BadRequest, match="GraphQL, line"):
        parse(text)


def test_the_line_is_counted() -> None:
    with pytest.raises(BadRequest, match="line 3"):
        parse("{\n a\n ; }")


@pytest.mark.parametrize(
    "text",
    [
        "{a" * 30 + "}" * 30, "{ a(b: " + "[" * 30 + "]" * 30 + ") }", "{" + " a" * 60_000 + "}",
        "{ " + "a b " * 20_000 + "}", "query ($a: " + "[" * 30 + "X" + "]" * 30 + ") { a }",
    ],
)  # fmt: skip
def test_what_is_too_large_is_refused(text: str) -> None:
    with pytest.raises(TooLarge):
        parse(text)


WORDS = [*'{}()[]:$@!"\\#,.|=& \n', "a", "1", "-", "é", "on", "...", "fragment ", "query "]


@given(st.lists(st.sampled_from(WORDS), max_size=60).map("".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(BadRequest, TooLarge):
        assert parse(text).operations


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30))
def test_any_string_comes_through(value: str) -> None:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    assert next(tokens(f'"{escaped}"')).text == value
