"""Transcoded files on disk: kept, bounded, and never more than a convenience."""

import os
from pathlib import Path

import pytest

from server.imaging.transcode_cache import TranscodeCache

ONE, TWO = bytes(32), bytes(range(32))


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    cache = TranscodeCache(tmp_path, 1 << 20)
    assert cache.get(1, ONE, "1.2") is None
    cache.put(1, ONE, "1.2", b"file")
    assert cache.get(1, ONE, "1.2") == b"file"
    # By tenant, content and transfer syntax.
    assert cache.get(2, ONE, "1.2") is cache.get(1, TWO, "1.2") is cache.get(1, ONE, "1.3") is None


def test_another_process_finds_it_and_erasing_takes_it_away(tmp_path: Path) -> None:
    TranscodeCache(tmp_path, 1 << 20).put(1, ONE, "1.2", b"file")
    other = TranscodeCache(tmp_path, 1 << 20)
    assert other.get(1, ONE, "1.2") == b"file"
    other.forget(1, ONE, frozenset({"1.2", "1.3"}))
    assert other.get(1, ONE, "1.2") is None


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    cache = TranscodeCache(tmp_path, 10_000)
    for number in range(12):
        cache.put(1, bytes([number] * 32), "1.2", bytes(1000))
        for path in tmp_path.glob("*/*"):
            status = path.stat()
            os.utime(path, (status.st_atime - 10, status.st_mtime - 10))
        # Asked for again and again, the first stays.
        assert cache.get(1, bytes([0] * 32), "1.2") is not None
    kept = [number for number in range(12) if cache.get(1, bytes([number] * 32), "1.2") is not None]
    assert {0, 11} <= set(kept)
    assert 1 not in kept
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= 10_000


def test_what_is_too_large_or_cut_off_is_not_given(tmp_path: Path) -> None:
    cache = TranscodeCache(tmp_path, 1000)
    cache.put(1, ONE, "1.2", bytes(900))
    assert cache.get(1, ONE, "1.2") is None
    cache.put(1, ONE, "1.2", bytes(100))
    (path,) = tmp_path.glob("*/*")
    path.write_bytes(path.read_bytes()[:-1])
    assert cache.get(1, ONE, "1.2") is None
    TranscodeCache(tmp_path / "none", 0).put(1, ONE, "1.2", b"file")
    assert not (tmp_path / "none").exists()


def test_a_disk_that_takes_nothing_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = TranscodeCache(tmp_path / "file", 1 << 20)
    cache.put(1, ONE, "1.2", b"file")
    assert cache.get(1, ONE, "1.2") is None


@pytest.mark.parametrize("broken", [b"", b"1234567", b"\xff" * 8])
def test_what_a_power_failure_left(tmp_path: Path, broken: bytes) -> None:
    cache = TranscodeCache(tmp_path, 1 << 20)
    cache.put(1, ONE, "1.2", b"file")
    (path,) = tmp_path.glob("*/*")
    path.write_bytes(broken)
    assert cache.get(1, ONE, "1.2") is None
