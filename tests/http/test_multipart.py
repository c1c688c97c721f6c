"""multipart/related and media types: any boundary, any chunking, and the forms that clients send."""

from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import BadRequest
from server.http.media_type import accepted, parse
from server.http.multipart import PartParser

boundaries = st.text("abcXYZ019'()+_,-./:=? ", min_size=1, max_size=70).filter(lambda b: not b.endswith(" "))


class Parts:
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.parts: list[tuple[dict[str, str], bytes]] = []
        self.largest = 0
        self._headers: dict[str, str] | None = None
        self._pieces: list[bytes] = []

    def begin(self, headers: dict[str, str]) -> None:
        assert self._headers is None
        self._headers, self._pieces = headers, []

    def data(self, piece: bytes) -> None:
        assert self._headers is not None and piece
        self.largest = max(self.largest, len(piece))
        self._pieces.append(piece)

    def end(self) -> None:
        assert self._headers is not None
        self.parts.append((self._headers, b"".join(self._pieces)))
        self._headers = None


def read(blocks: Iterable[bytes], boundary: str) -> Parts:
    parts = Parts()
    parser = PartParser(boundary, parts)
    for block in blocks:
        parser.feed(block)
    parser.close()
    return parts


def chunks(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = 0
    for size in sizes:
        yield data[at : at + size]
        at += size
    if data[at:]:
        yield data[at:]


@given(
    boundaries, st.lists(st.binary(max_size=60)), st.lists(st.integers(1, 30)), st.binary(max_size=20), st.booleans()
)
def test_parts_come_as_they_were_sent(
    boundary: str, bodies: list[bytes], sizes: list[int], preamble: bytes, headed: bool
) -> None:
    mark = b"--" + boundary.encode()
    if any(mark in body for body in [preamble, *bodies]):
        return
    head = b"Content-Type: application/dicom\r\nX: y\r\n" if headed else b""
    data = b"".join(mark + b"\r\n" + head + b"\r\n" + body + b"\r\n" for body in bodies) + mark + b"--\r\nepilogue"
    data = preamble + b"\r\n" + data if preamble else data
    found = [(headers.get("content-type"), body) for headers, body in read(chunks(data, sizes), boundary).parts]
    assert found == [("application/dicom" if headed else None, body) for body in bodies]


@given(st.binary(max_size=300), st.lists(st.integers(1, 30)))
def test_any_bytes_are_parts_or_a_typed_refusal(data: bytes, sizes: list[int]) -> None:
    try:
        read(chunks(b"--b\r\n" + data, sizes), "b")
    except BadRequest as error:
        assert error.details


def test_what_follows_the_end_means_nothing() -> None:
    data = b"--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n--b\r\n\r\nthree\r\n"
    for blocks in ([data], [data[:7], data[7:]], [data[:31], data[31:]]):
        assert [body for _, body in read(blocks, "b").parts] == [b"one", b"two"]


def test_memory_does_not_grow_with_a_part() -> None:
    block = bytes(1 << 16)

    def stream() -> Iterator[bytes]:
        yield b"--b\r\n\r\n"
        for _ in range(200):
            yield block
        yield b"\r\n--b--"

    parts = read(stream(), "b")
    assert [len(body) for _, body in parts.parts] == [200 << 16]
    assert parts.largest <= (1 << 16) + 100


@pytest.mark.parametrize(
    "data", [b"", b"--b", b"--b\r\nno colon\r\n\r\n", b"--b\r\nA: b\r\n\r\nx", b"--b junk\r\n", b"x" * 70_000]
)
def test_broken_bodies_are_refused(data: bytes) -> None:
    with pytest.raises(BadRequest):
        read([data], "b")


def test_media_types() -> None:
    media = parse('Multipart/Related; type="application/dicom"; boundary="a;b\\"c"; transfer-syntax=*')
    assert (media.type, media.related, media.transfer_syntax) == ("multipart/related", "application/dicom", "*")
    assert media.parameters["boundary"] == 'a;b"c'
    assert parse("multipart/related; type=application/dicom; boundary=xyz").related == "application/dicom"
    for wrong in ("", "text", "text/", "a/b c"):
        with pytest.raises(BadRequest):
            parse(wrong)


def test_accept() -> None:
    found = accepted('text/html;q=0.2, multipart/related; type="image/jpeg, image/png";q=0.9, */*;q=0, image/png')
    assert [media.type for media in found] == ["image/png", "multipart/related", "text/html"]
    assert [media.type for media in accepted("")] == ["*/*"]
    with pytest.raises(BadRequest):
        accepted("text/html;q=high")
