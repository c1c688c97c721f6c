"""Killed at named points and started again: nothing lost, nothing doubled. The long version is ``benchmarks.crash``."""

from pathlib import Path

import pytest

from benchmarks.crash import run
from server.telemetry.kill_points import POINTS
from tests.main_job.conftest import phantom
from tests.orthanc import free_port

#: One of each stretch of the way, so that CI stays short; both scopes (one process, the whole server) take turns.
SHORT = ("after-ack", "inferring", "sr-stored", "notifying")


@pytest.mark.timeout(1500)
@pytest.mark.xdist_group("crash")
def test_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    assert set(SHORT) <= set(POINTS)
    images = phantom(tmp_path / "images", seed=5)
    outcomes = run(tmp_path / "data", images, SHORT, rounds=1, ports=(free_port(), free_port()))
    assert [outcome for outcome in outcomes if not outcome.sound] == []
    assert {outcome.scope for outcome in outcomes} == {"process", "server"}
