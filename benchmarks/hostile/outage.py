"""Bar 9: a disk that is full, and a database that does not answer or is gone, while instances come by both doors."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.hostile.senders import Ledger, Sending, Storing, stow
from benchmarks.hostile.server import Tree
from benchmarks.hostile.wire import ask
from server.store import launch

#: The newest that Debian has put here.
_DEBIAN = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/bin"))
#: Seconds in which somebody who sends must know whether it was taken.
BOUND = 35.0
_RIGHT = {
    "QIDO 200", "QIDO 503", "STOW 200", "STOW 503", "STOW 507", "STOW 409 A700", "STOW 202 A700",
    "C-STORE 0000", "C-STORE A700",
}  # fmt: skip


def run(folder: Path, *, seconds: float = 60.0, disks: bool = True) -> dict[str, Any]:
    """Every outage, one after the other, each with a server of its own."""
    report: dict[str, Any] = {}
    for name, together, size, reserve in (
        ("packs alone on 64 MB", False, 64, 0), ("packs alone on 64 MB, 8 MB in reserve", False, 64, 8 << 20),
        ("all on 192 MB", True, 192, 0), ("all on 192 MB, 48 MB in reserve", True, 192, 48 << 20),
    )[: 4 if disks else 0]:  # fmt: skip
        report[name] = full_disk(folder / name.replace(" ", "-").replace(",", ""), together, size, reserve)
    for name in ("stopped by SIGSTOP", "shut down and started"):
        report[name] = database_away(folder / name.replace(" ", "-"), name.startswith("stopped"), seconds)
    report["faults"] = [f"{name}: {fault}" for name, part in report.items() for fault in part["faults"]]
    return report


def full_disk(folder: Path, together: bool, megabytes: int, reserve: int) -> dict[str, Any]:
    """Fills the disk by sending; frees it; sends on. ``together``: the database is on it, too."""
    folder.mkdir(parents=True)
    with _tmpfs(folder / "disk", megabytes) as disk:
        data = disk / "data" if together else folder / "data"
        settings = {"disk_reserve": str(reserve)} | ({} if together else {"blob_url": str(disk / "blobs")})
        filler = disk / "filler"
        filler.write_bytes(bytes(16 << 20))
        with Tree(data, log=folder / "serve.log", **settings) as tree:
            ledger = Ledger(first=91_000_000, size=512)
            storing = Storing(tree, ledger)
            faults = _until_full(tree, ledger, storing)
            # A reading that finds no room for its audit row is refused, too.
            faults += [f"when full: {fault}" for fault in ledger.check(tree) if not fault.endswith("with 503")]
            _squeeze(disk / "last")
            for _ in range(20):
                stow(tree, ledger)
                storing()
                _query(tree, ledger)
            (disk / "last").unlink()
            filler.unlink()
            again = _again(tree, ledger, storing)
            storing.close()
            return _told(tree, ledger, faults, again)


def _until_full(tree: Tree, ledger: Ledger, storing: Storing) -> list[str]:
    """Sends till both doors have refused for a while."""
    refused = {"stow": 0, "c-store": 0}
    for _ in range(1500):
        refused["stow"] += not stow(tree, ledger)
        refused["c-store"] += not storing()
        if min(refused.values()) >= 20:
            return []
    return ["the disk never was full"]


def _squeeze(path: Path) -> None:
    """Takes what is left of the disk, to the last byte."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(1 << 12)):
            pass


def _query(tree: Tree, ledger: Ledger) -> None:
    """Its audit row needs room, too: it may be refused, but nothing else."""
    answer = ask(tree.http_port, "GET", "/dicomweb/studies")
    ledger.answer(f"QIDO {answer.status}", answer.seconds)


def database_away(folder: Path, frozen: bool, seconds: float) -> dict[str, Any]:
    """Takes the database away for a while, in the midst of sending."""
    folder.mkdir(parents=True)
    with Postgres(folder / "cluster") as postgres, Tree(folder / "data", database_url=postgres.url) as tree:
        ledger = Ledger(first=92_000_000)
        storing = Storing(tree, ledger)
        with Sending(lambda: stow(tree, ledger, timeout=BOUND + 30)), Sending(storing):
            time.sleep(3)
            postgres.freeze() if frozen else postgres.stop()
            time.sleep(seconds)
            postgres.thaw() if frozen else postgres.start()
            time.sleep(5)
        again = _again(tree, ledger, storing)
        storing.close()
        return _told(tree, ledger, [], again)


def _again(tree: Tree, ledger: Ledger, storing: Storing) -> float:
    """Seconds till both doors take instances again; -1 for never."""
    began = time.monotonic()
    while time.monotonic() - began < 120:
        if stow(tree, ledger) and storing():
            return round(time.monotonic() - began, 2)
        time.sleep(0.3)
    return -1.0


def _told(tree: Tree, ledger: Ledger, faults: list[str], again: float) -> dict[str, Any]:
    faults = [*faults, *(f"afterwards: {fault}" for fault in ledger.check(tree))]
    faults += [f"answered {said} ({times} times)" for said, times in ledger.answers.items() if said not in _RIGHT]
    if again < 0:
        faults.append("nothing is taken again")
    if ledger.slowest > BOUND:
        faults.append(f"somebody waited for {ledger.slowest:.1f} s")
    done = tree.command("verify")
    if done.returncode:
        faults.append(f"verify: {done.stdout[-600:]}")
    return {
        "answers": dict(ledger.answers), "acknowledged": len(ledger.acknowledged), "taken_again_after_s": again,
        "slowest_s": round(ledger.slowest, 2), "processes_restarted_by_serve": tree.restarts(), "faults": faults[:20],
    }  # fmt: skip


@contextmanager
def _tmpfs(folder: Path, megabytes: int) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Postgres:
    """Debian's PostgreSQL, in a cluster of its own, that can be frozen and stopped."""

    def __init__(self, cluster: Path) -> None:
        self._cluster = cluster.absolute()
        self._sockets = self._cluster.with_name("s")
        self.url = f"postgresql:///postgres?host={self._sockets}&user=hutong"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Postgres":
        self._sockets.mkdir(mode=0o700)
        arguments = ["-D", str(self._cluster), "-U", "hutong", "--auth", "trust", "--locale", "C", "-E", "UTF8"]
        subprocess.run([*_launched("initdb"), *arguments], check=True, capture_output=True)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.thaw()
        self.stop()

    def start(self) -> None:
        """Starts it and waits till it answers."""
        options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={self._sockets}"]
        command = [*_launched("postgres"), "-D", str(self._cluster), *options]
        with self._cluster.with_name("postgres.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(300):
            with suppress(psycopg.OperationalError), psycopg.connect(self.url):
                return
            time.sleep(0.1)

    def stop(self) -> None:
        """Fast shutdown: every connection is closed."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)
            self._process = None

    def freeze(self) -> None:
        """No process of it runs any more; its sockets stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """All go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is None:
            return
        text = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text(encoding="ascii")
        # The postmaster first, so that it makes no new ones meanwhile.
        for process in (self._process.pid, *map(int, text.split())):
            with suppress(ProcessLookupError):
                os.kill(process, number)


def _launched(program: str) -> list[str]:
    return [sys.executable, "-I", "-S", launch.__file__, str(_DEBIAN / program)]
