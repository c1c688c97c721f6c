"""A Hutong of its own for a suite, over an empty folder, when no other server is named."""

import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

_HOST = "127.0.0.1"
_START_SECONDS = 120.0


class NotStarted(Exception):
    """The server did not answer; carries the end of its log."""


@contextlib.contextmanager
def own_server() -> Iterator[str]:
    """The FHIR base of a server that lives as long as the block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        http_port, dimse_port = _free_ports()
        command = [sys.executable, "-m", "server", "serve", "--data", f"{folder}/data", "--no-worker"]
        command += ["--http-port", str(http_port), "--dimse-port", str(dimse_port)]
        log = Path(folder) / "log"
        with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
            try:
                _wait(process, f"http://{_HOST}:{http_port}/readyz", log)
                yield f"http://{_HOST}:{http_port}/fhir"
            finally:
                process.terminate()


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, timeout=2).is_success:
                return
        time.sleep(0.1)
    raise NotStarted(log.read_text(encoding="utf-8", errors="replace")[-2000:])


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind((_HOST, 0))
        second.bind((_HOST, 0))
        return first.getsockname()[1], second.getsockname()[1]
