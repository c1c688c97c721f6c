"""The pool over real processes: lazy, bounded, outliving its workers, gone with its parent."""

import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import psutil
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate

from server.errors import HutongError, NotAcceptable, Unavailable, Unprocessable
from server.imaging import part10
from server.imaging import transfer_syntax as ts
from server.imaging.pixel_pool import PixelPool
from server.imaging.rendering import Rendering

MEMORY = 512 << 20


def raw(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    assert path is not None
    return Path(path).read_bytes()


def workers() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        # One that ends in this moment is none.
        with suppress(psutil.NoSuchProcess):
            if "server.imaging.pixel_worker" in " ".join(child.cmdline()):
                found.append(child)
    return found


@pytest.fixture
def pool() -> Iterator[PixelPool]:
    pool = PixelPool(1, MEMORY, timeout=20)
    yield pool
    pool.close()
    assert not workers()


def until(condition: object, seconds: float = 20.0) -> bool:
    assert callable(condition)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_loading_it_loads_no_codec() -> None:
    text = (
        "import sys, server.imaging.pixel_pool\n"
        "print({'numpy', 'pydicom', 'imagecodecs', 'PIL', 'fastapi'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_it_works_and_rests(pool: PixelPool) -> None:
    assert not workers()
    made = pool.transcode(raw("CT_small.dcm"), ts.JPEG_LS_LOSSLESS)
    assert part10.read_meta(made, 0, len(made)).transfer_syntax == ts.JPEG_LS_LOSSLESS
    first = workers()
    assert len(first) == 1
    assert pool.transcode(made, part10.EXPLICIT_LITTLE)[-1000:]
    assert workers() == first


def test_idle_workers_end() -> None:
    pool = PixelPool(1, MEMORY, idle=0.1)
    pool.transcode(raw("CT_small.dcm"), part10.IMPLICIT_LITTLE)
    assert until(lambda: not workers())
    # And come again when there is work.
    assert pool.transcode(raw("CT_small.dcm"), part10.IMPLICIT_LITTLE)
    pool.close()


def test_our_errors_come_across(pool: PixelPool) -> None:
    with pytest.raises(NotAcceptable, match="transfer-syntax"):
        pool.transcode(raw("CT_small.dcm"), "1.2.3")
    with pytest.raises(Unprocessable, match="declares") as caught:
        pool.transcode(raw("CT_small.dcm")[:-1000], part10.IMPLICIT_LITTLE)
    assert caught.value.issues[0].expression == "7FE00010"


def test_a_worker_that_is_killed_is_replaced(pool: PixelPool) -> None:
    pool.transcode(raw("CT_small.dcm"), part10.IMPLICIT_LITTLE)
    worker = workers()[0]
    worker.send_signal(signal.SIGKILL)
    assert until(lambda: worker.status() == psutil.STATUS_ZOMBIE)
    # It died idle: nobody's input is at fault.
    assert pool.transcode(raw("CT_small.dcm"), part10.IMPLICIT_LITTLE)


def test_who_kills_a_worker_hears_of_it_and_nobody_else(pool: PixelPool) -> None:
    outcome: list[BaseException] = []

    def ask() -> None:
        try:
            pool.transcode(raw("examples_ybr_color.dcm"), ts.JPEG_2000_LOSSLESS)
        except HutongError as error:
            outcome.append(error)

    pool.transcode(raw("CT_small.dcm"), part10.IMPLICIT_LITTLE)
    worker = workers()[0]
    worker.send_signal(signal.SIGSTOP)
    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.3)
    worker.send_signal(signal.SIGKILL)
    asking.join()
    assert isinstance(outcome[0], Unprocessable)
    assert pool.transcode(raw("CT_small.dcm"), part10.IMPLICIT_LITTLE)


def test_a_job_that_takes_too_long_is_ended() -> None:
    pool = PixelPool(1, MEMORY, timeout=0.3)
    # A film of many frames takes longer than that.
    head, frame = raw("CT_small.dcm"), bytes(128 * 128 * 2)
    at = head.index(b"\xe0\x7f\x10\x00")
    frames, started = [frame] * 3000, time.monotonic()
    with pytest.raises(Unprocessable, match="time"):
        pool.render(head[:at], frames, range(1, 3001), Rendering(media_type="image/gif"))
    # Its start, the job, and no more.
    assert time.monotonic() - started < 15
    assert until(lambda: not workers())
    pool.close()


def test_memory_is_bounded(pool: PixelPool) -> None:
    """An image of 60,000 x 60,000 in a few bytes is refused and harms nobody."""
    head = bytearray(raw("CT_small.dcm"))
    for tag in (b"\x28\x00\x10\x00US\x02\x00", b"\x28\x00\x11\x00US\x02\x00"):
        at = head.index(tag) + 8
        head[at : at + 2] = (16_000).to_bytes(2, "little")
    at = head.index(b"\xe0\x7f\x10\x00")
    with pytest.raises((NotAcceptable, Unprocessable)):
        pool.render(bytes(head[:at]), [bytes(16_000 * 16_000 * 2)[: 1 << 28]], [1], Rendering())
    assert pool.transcode(raw("CT_small.dcm"), part10.IMPLICIT_LITTLE)


def test_a_jpeg_bomb_costs_one_worker_its_memory_and_nobody_else() -> None:
    """Twenty thousand squared in some hundred bytes, header and codestream of one mind."""
    pool = PixelPool(1, 200 << 20)
    codestream = bytearray(imagecodecs.jpeg8_encode(np.zeros((64, 64), np.uint8)))
    at = codestream.index(b"\xff\xc0")
    codestream[at + 5 : at + 9] = struct.pack(">HH", 20_000, 20_000)
    dataset = pydicom.dcmread(BytesIO(raw("SC_rgb_jpeg_dcmtk.dcm")))
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows = dataset.Columns = 20_000
    dataset.PixelData = encapsulate([bytes(codestream)])
    out = BytesIO()
    dataset.save_as(out)
    with pytest.raises((NotAcceptable, Unprocessable)):
        pool.transcode(out.getvalue(), part10.EXPLICIT_LITTLE)
    assert all(worker.memory_info().rss < 400 << 20 for worker in workers())
    assert pool.transcode(raw("CT_small.dcm"), part10.IMPLICIT_LITTLE)
    pool.close()


def test_a_worker_makes_room_after_many_jobs(monkeypatch: pytest.MonkeyPatch, pool: PixelPool) -> None:
    monkeypatch.setattr("server.imaging.pixel_pool._MOST_JOBS", 2)
    pids = set()
    for _ in range(4):
        pool.transcode(raw("CT_small.dcm"), part10.IMPLICIT_LITTLE)
        pids |= {worker.pid for worker in workers()}
    assert len(pids) == 2


def test_who_comes_when_all_is_full_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.imaging.pixel_pool._WAITING", 2)
    pool = PixelPool(1, MEMORY)
    file, outcomes = raw("examples_ybr_color.dcm"), list[str]()

    def ask() -> None:
        try:
            pool.transcode(file, ts.JPEG_2000_LOSSLESS)
            outcomes.append("done")
        except Unavailable:
            outcomes.append("unavailable")

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.close()
    assert outcomes.count("done") >= 2
    assert outcomes.count("unavailable") == 12 - outcomes.count("done") > 0


@pytest.mark.skipif(sys.platform != "linux", reason="the parent's death is told by Linux")
def test_workers_die_with_their_parent() -> None:
    text = (
        "import os, signal, sys\n"
        "from server.imaging.pixel_pool import PixelPool\n"
        "pool = PixelPool(1, 1 << 29)\n"
        "pool.transcode(sys.stdin.buffer.read(), '1.2.840.10008.1.2')\n"
        "print(next(iter(pool._alive)).process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", text], input=raw("CT_small.dcm"), capture_output=True)
    assert done.returncode == -signal.SIGKILL
    pid = int(done.stdout)
    assert until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_many_threads_share_few_workers() -> None:
    pool = PixelPool(2, MEMORY)
    file, made = raw("MR_small.dcm"), list[bytes | HutongError]()

    def ask() -> None:
        for _ in range(5):
            made.append(pool.transcode(file, ts.RLE))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(workers()) <= 2
    assert len(made) == 40 and len(set(map(bytes, made))) == 1  # type: ignore[arg-type]
    pool.close()
