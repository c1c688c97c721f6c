"""JSON without loss."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import BadRequest
from server.fhir.json_format import parse, raw, write, write_sorted

NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)


@given(NUMBERS)
def test_numbers_keep_value_and_digits(number: str) -> None:
    body = write(parse(b'{"value":' + number.encode() + b"}"))
    back = Decimal(body.removeprefix(b'{"value":').removesuffix(b"}").decode())
    expected = Decimal(number)
    # A whole number has no sign at zero, as in Python and JavaScript.
    if "." not in number and "e" not in number.lower() and expected == 0:
        assert back == 0
    else:
        assert back.as_tuple() == expected.as_tuple()


def test_plain_decimals_stay_as_they_were_written() -> None:
    for number in (b"1.10", b"0.000000001", b"-0.0", b"100", b"123456789012345678901234567890.5"):
        assert write(parse(b'{"value":' + number + b"}")) == b'{"value":' + number + b"}"


@given(st.dictionaries(st.text(max_size=5), st.text() | st.booleans() | st.integers(-(2**60), 2**60), max_size=4))
def test_everything_else_comes_back(resource: dict[str, Any]) -> None:
    assert json.loads(write(parse(json.dumps(resource).encode()))) == resource


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b'{"a":NaN}', b'{"a":Infinity}', b"{", b"\xff", b'{"a":1}x', b"[" * 100_000],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(body)


def test_lone_surrogates_are_refused() -> None:
    with pytest.raises(BadRequest):
        write(parse(b'{"a":"\\ud800"}'))


def test_raw_bytes_stand_inside() -> None:
    assert write({"entry": raw(b'{"value":1.10}')}) == b'{"entry":{"value":1.10}}'


def test_sorted_bytes_are_equal_for_equal_content() -> None:
    assert write_sorted({"b": Decimal("1.0"), "a": 1}) == write_sorted({"a": 1, "b": Decimal("1.0")})
    assert write_sorted({"b": Decimal("1.0")}) != write_sorted({"b": Decimal("1.00")})
