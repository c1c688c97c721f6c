"""Packs: what is synced stays, what is taken back is gone, and nothing from outside is in a name."""

from pathlib import Path

import pytest

from server.errors import BadRequest, NotFound, Unavailable
from server.store.packs import Packs


@pytest.fixture
def packs(tmp_path: Path) -> Packs:
    return Packs(str(tmp_path / "blobs"))


def test_pieces_come_back_by_offset_and_length(packs: Packs) -> None:
    with packs.writer(1) as writer:
        writer.append(b"one")
        writer.append(memoryview(b"two"))
        writer.sync()
    assert packs.read(1, writer.pack, 0, 3) == b"one"
    assert packs.read(1, writer.pack, 3, 3) == b"two"
    assert list(packs.stream(1, writer.pack, 0, 6, chunk=4)) == [b"onet", b"wo"]


def test_what_is_taken_back_is_gone(packs: Packs) -> None:
    with packs.writer(1) as writer:
        writer.append(b"one")
        writer.sync()
        writer.append(b"bad")
        writer.take_back(3)
        writer.append(b"two")
        view, at = writer.view(0)
        with view:
            assert view[at:] == b"onetwo"
        writer.sync()
        with pytest.raises(ValueError, match="Durable"):
            writer.take_back(2)
    assert packs.read(1, writer.pack, 0, 6) == b"onetwo"


def test_a_view_starts_anywhere(packs: Packs) -> None:
    with packs.writer(1) as writer:
        writer.append(bytes(10_000) + b"here")
        view, at = writer.view(10_000)
        with view:
            assert view[at : at + 4] == b"here"


def test_a_pack_without_anything_durable_is_removed(packs: Packs, tmp_path: Path) -> None:
    with packs.writer(1) as writer:
        writer.append(b"one")
    assert not list(tmp_path.rglob("*.pack"))
    with pytest.raises(NotFound):
        packs.read(1, writer.pack, 0, 3)


def test_reading_beyond_the_end_is_an_error(packs: Packs) -> None:
    with packs.writer(1) as writer:
        writer.append(b"one")
        writer.sync()
    with pytest.raises(NotFound):
        packs.read(1, writer.pack, 0, 4)


def test_tenants_are_apart(packs: Packs) -> None:
    with packs.writer(2) as writer:
        writer.append(b"one")
        writer.sync()
    with pytest.raises(NotFound):
        packs.read(1, writer.pack, 0, 3)


def test_a_place_that_takes_no_file_is_said_to_be_unavailable(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("a file")
    with pytest.raises(Unavailable):
        Packs(str(tmp_path / "blobs")).writer(1)
    with pytest.raises(BadRequest):
        Packs("s3://bucket")


def test_a_full_disk_is_said_to_be_unavailable(packs: Packs, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    writer = packs.writer(1)
    os.close(writer._file)
    writer._file = os.open("/dev/full", os.O_RDWR)
    with pytest.raises(Unavailable):
        writer.append(b"one")
    os.close(writer._file)
