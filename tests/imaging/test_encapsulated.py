"""Frames in encapsulated pixel data, found without reading them; pydicom is the second opinion."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames

from server.errors import Unprocessable
from server.imaging.encapsulated import fragments

DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"


def item(data: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(data)) + data


def found(value: bytes, count: int, number: int, starts: tuple[int, ...] = ()) -> bytes:
    def read(offset: int, length: int) -> bytes:
        return value[offset : offset + length]

    parts = fragments(read, count, [number], starts)[0]
    return b"".join(value[part.offset : part.offset + part.length] for part in parts)


FRAMES = st.lists(
    st.binary(min_size=6, max_size=60).map(lambda raw: raw + b"\0" * (len(raw) % 2)), min_size=1, max_size=6
)


@given(FRAMES, st.integers(1, 3), st.booleans())
def test_with_a_table_any_fragments(frames: list[bytes], fragments: int, has_table: bool) -> None:
    if not has_table and len(frames) > 1:
        fragments = 1
    value = encapsulate(frames, fragments_per_frame=fragments, has_bot=has_table) + DELIMITER
    expected = list(generate_frames(value, number_of_frames=len(frames)))
    assert [found(value, len(frames), number) for number in range(1, len(frames) + 1)] == expected


@given(FRAMES)
def test_with_the_extended_table(frames: list[bytes]) -> None:
    value, offsets, _lengths = encapsulate_extended(frames)
    starts = struct.unpack(f"<{len(frames)}Q", offsets)
    for number, frame in enumerate(frames, 1):
        assert found(value + DELIMITER, len(frames), number, starts) == frame


def test_without_a_table_codestreams_tell_where_they_end() -> None:
    pieces = [b"\xff\xd8ab", b"cd\xff\xd9", b"\xff\xd8e\0", b"f\xff\xd9\0"]
    value = item(b"") + b"".join(map(item, pieces)) + DELIMITER
    assert found(value, 2, 1) == b"\xff\xd8abcd\xff\xd9"
    assert found(value, 2, 2) == b"\xff\xd8e\0f\xff\xd9\0"


def test_many_frames_are_looked_for_once() -> None:
    value = item(b"") + b"".join(item(bytes([number, 0])) for number in range(200)) + DELIMITER
    reads = 0

    def read(offset: int, length: int) -> bytes:
        nonlocal reads
        reads += 1
        return value[offset : offset + length]

    found_parts = fragments(read, 200, [*range(1, 201), 1, 1])
    assert [value[parts[0].offset] for parts in found_parts] == [*range(200), 0, 0]
    assert reads < 250


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"garbage that is no item",
        item(b"") + DELIMITER,
        item(b"") + item(b"ab") + b"\1\2\3\4\5\6\7\x08",
        item(b"") + item(b"ab") + item(b"cd") + item(b"ef") + DELIMITER,
        item(struct.pack("<2I", 0, 4)) + item(b"ab") + item(b"cd") + DELIMITER,
        item(struct.pack("<2I", 0, 1 << 30)) + item(b"ab") + item(b"cd") + DELIMITER,
    ],
)
def test_what_can_not_be_told_apart_is_refused(value: bytes) -> None:
    with pytest.raises(Unprocessable, match="offset table"):
        found(value, 2, 2)
