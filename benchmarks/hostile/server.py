"""The server under attack: started as an operator starts it, watched from outside by /proc."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.dicomweb.memory import by_part
from benchmarks.dicomweb.servers import Server
from benchmarks.hostile.wire import ask

_START_SECONDS = 180.0
#: Growth at which a run is over.
_LOST_MB = 3000
_RESTARTED = "process ended and is started again"


class Failed(Exception):
    """The server did not do what it must for the figure to mean anything."""


class Tree:
    """``hutong serve`` with all its processes."""

    def __init__(self, data: Path, *, log: Path | None = None, **settings: str) -> None:
        """``settings`` are environment variables without their ``HUTONG_``."""
        self.data = data
        self.http_port, self.dimse_port = free_port(), free_port()
        self.log = log or data.with_name(f"{data.name}.log")
        self._environment = {f"HUTONG_{name.upper()}": value for name, value in settings.items()}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Tree":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the server and waits until it is ready on both ports."""
        self.data.mkdir(parents=True, exist_ok=True)
        ports = ["--http-port", str(self.http_port), "--dimse-port", str(self.dimse_port)]
        command = [sys.executable, "-m", "server", "serve", "--data", str(self.data), "--no-worker", *ports]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **self._environment})
        self.wait_until_ready()

    def wait_until_ready(self, seconds: float = _START_SECONDS) -> float:
        """Waits till both ports answer; how long it took."""
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            if self._process is None or self._process.poll() is not None:
                raise Failed(f"The server ended; see {self.log}.")
            with suppress(OSError):
                if ask(self.http_port, "GET", "/readyz", timeout=5).status == 200:
                    socket.create_connection(("127.0.0.1", self.dimse_port), timeout=2).close()
                    return time.monotonic() - began
            time.sleep(0.1)
        raise Failed(f"The server is not ready after {seconds:.0f} s; see {self.log}.")

    @property
    def process(self) -> int:
        """The supervisor's process."""
        if self._process is None:
            raise Failed("The server was not started.")
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the supervisor itself has ended."""
        return self._process is None or self._process.poll() is not None

    def restarts(self) -> int:
        """How often a process of this server ended and was started again."""
        return self.log.read_text(encoding="utf-8", errors="replace").count(_RESTARTED)

    def family(self) -> list[int]:
        """The supervisor and all its descendants."""
        parents = _parents()
        family = {self.process}
        while more := {child for child, parent in parents.items() if parent in family} - family:
            family |= more
        return sorted(family)

    def memory(self) -> float:
        """PSS of the whole tree, MB."""
        return sum(_pss(process) for process in self.family())

    def memory_by_part(self) -> dict[str, float]:
        """The same for web and DIMSE (with their children), PostgreSQL, and the rest."""
        seen = Server(
            name="hutong", root="", http_port=self.http_port, dimse_port=self.dimse_port, ae_title="",
            process=self.process, folder=self.data,
        )  # fmt: skip
        return by_part(seen)

    def cpu_seconds(self) -> float:
        """CPU time that the tree has had so far."""
        return sum(map(cpu_of, self.family()))

    def kill(self, victim: int = 0) -> None:
        """SIGKILL to one process, or to the supervisor: then all others end by themselves."""
        if victim:
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        elif self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and waits until everything is drained."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()

    def command(self, *arguments: str, timeout: float = 600) -> "subprocess.CompletedProcess[str]":
        """``hutong ...`` on the same data folder."""
        environment = {**os.environ, **self._environment}
        environment |= {"HUTONG_HTTP_PORT": str(self.http_port), "HUTONG_DIMSE_PORT": str(self.dimse_port)}
        command = [sys.executable, "-m", "server", *arguments, "--data", str(self.data)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout, env=environment)


class Watch:
    """Samples the tree's memory beside the attack."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.first = self.peak = tree.memory()
        self.first_parts = self.parts = tree.memory_by_part()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def growth_by_part(self) -> dict[str, int]:
        """The same by part of the server."""
        return {name: round(now - self.first_parts[name]) for name, now in self.parts.items()}

    @property
    def growth(self) -> float:
        """Highest above the first sample, MB."""
        return self.peak - self.first

    def end(self) -> None:
        """No more samples."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(1.0):
            now = self._tree.memory()
            if now > self.peak:
                self.peak, self.parts = now, self._tree.memory_by_part()
            if self.peak - self.first > _LOST_MB:
                # The machine has other users.
                self._tree.kill()
                return


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _stat(process: int | str) -> list[str]:
    """The fields of /proc/PID/stat from the third on: state, parent, ... (proc(5))."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _parents() -> dict[int, int]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(entry.name)) and fields[0] != "Z":
            found[int(entry.name)] = int(fields[1])
    return found


def cpu_of(process: int) -> float:
    """CPU seconds that a process has had so far."""
    fields = _stat(process)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def _pss(process: int) -> float:
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("Pss:")), 0.0)
