"""ZIP archives against the standard library's reader, and against sizes that nobody wants to write in a test."""

import io
import struct
import zipfile
import zlib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from server.imaging import zip_file
from server.imaging.zip_file import ZipWriter

MEMBERS = st.dictionaries(
    st.from_regex(r"[A-Z0-9_]{1,8}(/[A-Z0-9_]{1,8}){0,3}", fullmatch=True), st.binary(max_size=300)
)


def write(members: dict[str, bytes]) -> bytes:
    writer = ZipWriter()
    parts = [writer.header(name, len(data), zlib.crc32(data)) + data for name, data in members.items()]
    return b"".join([*parts, writer.end()])


@given(MEMBERS)
def test_what_was_written_is_read(members: dict[str, bytes]) -> None:
    archive = write(members)
    assert len(archive) == zip_file.length((name, len(data)) for name, data in members.items())
    with zipfile.ZipFile(io.BytesIO(archive)) as found:
        assert found.testzip() is None
        assert {info.filename: found.read(info) for info in found.infolist()} == members


def test_more_members_than_the_old_form_counts() -> None:
    members = {f"M{number:06}": b"" for number in range(70_000)}
    with zipfile.ZipFile(io.BytesIO(write(members))) as found:
        assert len(found.namelist()) == 70_000


def test_sizes_and_places_beyond_32_bits(tmp_path: Path) -> None:
    size = (5 << 30) + 3
    writer = ZipWriter()
    archive = tmp_path / "large.zip"
    with archive.open("wb") as file:
        file.write(writer.header("LARGE", size, 0))
        # A hole: the file takes no room on the disk.
        file.seek(size, io.SEEK_CUR)
        file.write(writer.header("SMALL", 2, zlib.crc32(b"ab")) + b"ab")
        file.write(writer.end())
    assert archive.stat().st_size == zip_file.length([("LARGE", size), ("SMALL", 2)])
    with zipfile.ZipFile(archive) as found:
        assert found.getinfo("LARGE").file_size == size
        assert found.getinfo("SMALL").header_offset > 1 << 32
        assert found.read("SMALL") == b"ab"


def test_a_reader_that_takes_it_as_it_comes_understands_it() -> None:
    archive = write({"A": b"one", "B/C": b"two"})
    at, found = 0, {}
    while archive[at : at + 4] == b"PK\3\4":
        flags, method, crc, size, length, extra = struct.unpack_from("<2xHH4xI4xIHH", archive, at + 4)
        start = at + 30 + length + extra
        name, data = archive[at + 30 : at + 30 + length].decode(), archive[start : start + size]
        assert not flags & 8 and method == 0 and zlib.crc32(data) == crc
        found[name], at = data, start + size
    assert found == {"A": b"one", "B/C": b"two"}
