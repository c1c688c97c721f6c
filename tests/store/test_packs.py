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


def test_a_pack_goes_on_from_request_to_request(packs: Packs) -> None:
    first = packs.take(1)
    first.append(b"one")
    first.sync()
    beside = packs.take(1)
    assert beside.pack != first.pack
    packs.give_back(beside)
    first.append(b"lost")
    packs.give_back(first)
    second = packs.take(1)
    assert (second.pack, second.position) == (first.pack, 3)
    assert packs.take(2).pack != second.pack
    second.append(b"two")
    second.sync()
    packs.give_back(second)
    assert packs.read(1, first.pack, 0, 6) == b"onetwo"
    packs.close()
    assert packs.take(1).pack != first.pack


def test_a_pack_that_failed_is_not_gone_on_with(packs: Packs, tmp_path: Path) -> None:
    writer = packs.take(1)
    writer.append(b"one")
    writer.sync()
    writer.append(b"lost")
    writer.is_sound = False
    packs.give_back(writer)
    assert packs.take(1).pack != writer.pack
    (path,) = tmp_path.rglob(f"{writer.pack}.pack")
    assert path.read_bytes() == b"one"


def test_a_pack_is_open_as_long_as_it_is_written_to(packs: Packs) -> None:
    writer = packs.take(1)
    writer.append(b"one")
    writer.sync()
    assert packs.is_open(1, writer.pack)
    packs.give_back(writer)
    assert packs.is_open(1, writer.pack)
    packs.close()
    assert not packs.is_open(1, writer.pack)


def test_syncing_beside_the_writer(packs: Packs) -> None:
    with packs.writer(1) as writer:
        for number in range(50):
            writer.append(bytes([number]) * 1000)
            writer.start_sync()
        writer.sync()
        assert writer.synced == writer.position == 50_000
        writer.start_sync()
        writer.append(b"more")
        writer.start_sync()
        writer.forget(1000)
        assert (writer.synced, writer.position) == (1000, 1000)
    assert packs.read(1, writer.pack, 0, 1000) == bytes(1000)


def test_room_asked_for_ahead_is_given_back(packs: Packs, tmp_path: Path) -> None:
    writer = packs.writer(1)
    writer.append(b"x" * 1000)
    writer.sync()
    path = next(tmp_path.rglob("*.pack"))
    assert path.stat().st_size == 1000
    writer.append(b"y" * 1000)
    writer.forget(1000)
    writer.append(b"z" * (6 << 20))
    writer.sync()
    size = path.stat().st_size
    writer.close()
    assert path.stat().st_size == size == 1000 + (6 << 20)
    assert path.stat().st_blocks * 512 <= size + (64 << 10)
    assert packs.read(1, writer.pack, 0, 1001) == b"x" * 1000 + b"z"
