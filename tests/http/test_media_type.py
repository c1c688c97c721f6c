"""Accept headers, as clients send them and as nobody should."""

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import BadRequest
from server.http.media_type import MediaType, accepted, parse

FORMS = [
    ("", [("*/*", {})]),
    ("*", [("*/*", {})]),
    ("application/dicom", [("application/dicom", {})]),
    ('multipart/related; type="application/dicom"', [("multipart/related", {"type": "application/dicom"})]),
    ("multipart/related;type=application/dicom", [("multipart/related", {"type": "application/dicom"})]),
    (
        'multipart/related; type="image/jls"; transfer-syntax=1.2, */*;q=0.1',
        [("multipart/related", {"type": "image/jls", "transfer-syntax": "1.2"}), ("*/*", {})],
    ),
    ('a/b; x="1,2;3\\"4"', [("a/b", {"x": '1,2;3"4'})]),
    ("text/html;q=0, a/b", [("a/b", {})]),
    ("a/b;q=0.2, c/d;q=0.9", [("c/d", {}), ("a/b", {})]),
    ("*/*, image/*, image/png", [("image/png", {}), ("image/*", {}), ("*/*", {})]),
    ("IMAGE/PNG ; Q=0.5", [("image/png", {})]),
]


@pytest.mark.parametrize(("header", "expected"), FORMS)
def test_forms(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert [(media.type, media.parameters) for media in accepted(header)] == expected


@pytest.mark.parametrize("header", ["nonsense", "a/b;q=x", "/", "a/b, c", ",".join(["a/b"] * 101)])
def test_what_is_no_media_type_is_refused(header: str) -> None:
    with pytest.raises(BadRequest):
        accepted(header)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(header: str) -> None:
    try:
        found = accepted(header)
    except BadRequest:
        return
    assert all(0 < media.q <= 1 for media in found)


@given(st.from_regex(r"[a-z]{1,8}/[a-z+.-]{1,8}", fullmatch=True), st.text(st.characters(codec="ascii"), max_size=20))
def test_a_quoted_parameter_is_read_as_it_was_written(name: str, value: str) -> None:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    if "\n" not in value:
        assert parse(f'{name}; x="{quoted}"') == MediaType(type=name, parameters={"x": value})


@pytest.mark.parametrize("header", [",", '"', ', "', ";", "; ", ";a", "a/b;", ';x="', "\\"])
def test_a_long_header_takes_no_long_time(header: str) -> None:
    started = time.process_time()
    with contextlib.suppress(BadRequest):
        accepted((header * 65536)[:65536])
    assert time.process_time() - started < 2
