"""``hutong adapters bench`` on a small chest, and as many analysis processes as are asked for."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.app.analysis import inference_threads
from server.app.processes import processes
from server.cli.commands import application
from server.settings import Settings
from tests.ai_adapters.chest import SPACING, chest
from tests.ai_adapters.foreign_models import boxes_of_blocks, bundle
from tests.ai_adapters.series import patient, series
from tests.ai_adapters.test_foreign import BOXES


def test_stages_memory_and_the_bare_loop(tmp_path: Path) -> None:
    study = tmp_path / "study"
    study.mkdir()
    for number, image in enumerate(patient(series(chest([((64.0, 130.0, 166.0), 14.0)]), SPACING))):
        image.save_as(study / f"{number}.dcm", enforce_file_format=True)
    data = tmp_path / "data"
    bundle(data / "bundles" / "example_boxes", BOXES, boxes_of_blocks())
    done = CliRunner().invoke(
        application("adapters"),
        ["adapters", "bench", "example_boxes", "--study", str(study), "--data", str(data), "--threads", "1", "--json"],
    )
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    stages = said["seconds"]
    assert {"reading headers", "loading and decoding", "running the model", "writing", "total"} <= set(stages)
    assert sum(value for name, value in stages.items() if name != "total") <= stages["total"] + 0.01
    assert said["slices"] == [64] and said["findings"] == [1] and said["tensors"][0] > 1
    assert 0 < said["bare_share"] < 1.5 and said["studies_an_hour"] > 0 and said["peak_memory_mib"] > 50
    assert said["provider"] == "CPUExecutionProvider" and said["device_memory_mib"] is None


@pytest.mark.parametrize(("workers", "names"), [(1, ["analysis"]), (3, ["analysis", "analysis 2", "analysis 3"])])
def test_serve_has_as_many_analysis_processes_as_asked(workers: int, names: list[str]) -> None:
    settings = replace(Settings(), analysis_workers=workers)
    assert [name for name in processes(settings) if name.startswith("analysis")] == names
    assert not any(name.startswith("analysis") for name in processes(replace(settings, worker=False)))


def test_the_processes_share_the_cores() -> None:
    assert inference_threads(Settings()) is None
    assert inference_threads(replace(Settings(), inference_threads=3, analysis_workers=2)) == 3
    assert inference_threads(replace(Settings(), analysis_workers=10_000)) == 1
