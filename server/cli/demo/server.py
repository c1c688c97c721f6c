"""The demo's server: ``hutong serve`` in a process of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from server.errors import Unavailable

#: The demo does not wait as long as a clinic would for late images.
STUDY_QUIET_SECONDS = 2.0


class DemoServer:
    """Starts ``serve`` on loopback and ends it again, unless it is to be kept."""

    def __init__(self, data: Path, *, keep: bool) -> None:
        self._data = data
        self._keep = keep
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> "DemoServer":
        self._data.mkdir(parents=True, exist_ok=True)
        ports = {"--http-port": _free(8080), "--dimse-port": _free(11112)}
        command = [sys.executable, "-m", "server", "serve", "--json", "--data", str(self._data), "--host", "127.0.0.1"]
        for option, port in ports.items():
            command += [option, str(port)]
        with (self._data / "serve.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=_environment(), start_new_session=self._keep
            )
        return self

    def wait_until_ready(self, seconds: float = 120.0) -> str:
        """The server's URL once it answers; raises Unavailable when it does not."""
        process = self._running()
        deadline = time.monotonic() + seconds
        assert process.stdout is not None
        said: list[str] = []
        while time.monotonic() < deadline:
            line = process.stdout.readline()
            if not line:
                break
            said.append(line)
            if line.startswith("}"):
                self.url = str(json.loads("".join(said))["url"])
                return self.url
        raise Unavailable(f"The server did not become ready; its log is {self._data / 'serve.log'}.")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None or (self._keep and error is None):
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    @property
    def pid(self) -> int:
        """The process number of the server."""
        return self._running().pid

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise Unavailable("The demo's server is not started.")
        return self._process


def _environment() -> dict[str, str]:
    return {"HUTONG_STUDY_QUIET": str(STUDY_QUIET_SECONDS), **os.environ, "PYTHONUNBUFFERED": "1"}


def _free(wanted: int) -> int:
    """The usual port, or any other when that one is taken."""
    for port in (wanted, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise Unavailable("No port is free on 127.0.0.1.")
