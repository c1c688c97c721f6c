"""The server as a user starts it, for clients that others wrote."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.orthanc import free_port

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def served_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The FHIR base URL of ``serve`` over a data folder of its own; SIGTERM must end it with status 0."""
    port, dimse_port = free_port(), free_port()
    command = [sys.executable, "-m", "server", "serve", "--data", str(tmp_path_factory.mktemp("foreign") / "data")]
    with subprocess.Popen(
        [*command, "--http-port", str(port), "--dimse-port", str(dimse_port)],
        cwd=ROOT,
        env={**os.environ, "HUTONG_WORKER": "false"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            assert "ready" in process.stdout.readline()
            yield f"http://127.0.0.1:{port}/fhir"
        finally:
            process.terminate()
            assert process.wait(60) == 0
