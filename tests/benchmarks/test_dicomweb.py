"""The benchmark runs, at a size that measures nothing, and knows a missed bar from a met one."""

from pathlib import Path

import orjson
import pytest

from benchmarks.dicomweb import report
from benchmarks.dicomweb.__main__ import main
from benchmarks.dicomweb.instances import Maker
from server.imaging import guard
from server.imaging.guard import GuardLimits
from tests.orthanc import _PLUGIN


def test_instances_are_sound_and_all_different() -> None:
    instances = list(Maker(1).many(103))
    assert len({instance.uid for instance in instances}) == 103
    assert len({instance.series for instance in instances}) == len({instance.study for instance in instances}) == 2
    file = instances[7].head + instances[7].pixels
    sound = guard.check(file, 0, len(file), GuardLimits())
    assert (sound.sop_instance, sound.series, sound.study) == (
        instances[7].uid,
        instances[7].series,
        instances[7].study,
    )
    assert sound.dataset_offset == instances[7].dataset and sound.attributes["00200013"]["Value"] == [8]
    assert 524_288 < instances[7].length < 540_000


def test_bars() -> None:
    lines = report.lines({"stow 1x1": 30.0, "frames": 1.0, "other": 2.0}, {"stow 1x1": 10.0, "frames": 1.0})
    assert lines[1].endswith("met") and lines[2].endswith("MISSED") and "other" in lines[3]


@pytest.mark.peer
@pytest.mark.timeout(600)
def test_both_servers_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not _PLUGIN.exists():
        pytest.skip("Orthanc with its DICOMweb plugin is not here")
    main([str(tmp_path), "--instances", "4", "--rounds", "1", "--synthetic", "200", "--json"])
    medians = orjson.loads(capsys.readouterr().out)["medians"]
    assert set(report.BARS) <= medians["hutong"].keys() & medians["orthanc"].keys()
    assert all(figure > 0 for figures in medians.values() for name, figure in figures.items() if name in report.BARS)
