"""The benchmarks of subscribers run, at a size that measures nothing."""

import json
from pathlib import Path

import pytest

from benchmarks.fhir import crash_delivery
from benchmarks.fhir.subscribers import BAD, Plan, run, serving
from tests.orthanc import free_port


@pytest.mark.timeout(600)
def test_everybody_gets_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUTONG_WORKER", "false")
    port = free_port()
    with serving(tmp_path / "data", port):
        plan = Plan(subscribers=20, events=40, rate=20, most=3)
        outcome = run("with", port, plan, BAD, tmp_path / "arrivals.json")
    assert (outcome.disordered, outcome.incomplete) == ([], [])
    assert outcome.p95 > 0


@pytest.mark.timeout(900)
@pytest.mark.xdist_group("crash")
def test_a_kill_during_delivery_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUTONG_WORKER", "false")
    outcome = crash_delivery.run(tmp_path, 2, free_port())
    assert outcome.sound, json.dumps([outcome.lost, outcome.doubled, outcome.disordered])
    assert outcome.notified >= 3 * outcome.written > 0
