"""Attack, idlers, outage and sudden death, in short. The long version is ``python -m benchmarks.hostile``."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.hostile import idle, kills, outage
from benchmarks.hostile.bombs import Bombs
from benchmarks.hostile.mutants import Campaign
from benchmarks.hostile.server import Tree

pytestmark = [pytest.mark.xdist_group("hostile"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    """One server for all attacks: what one of them leaves behind the next one would meet."""
    with Tree(tmp_path_factory.mktemp("hostile") / "data") as running:
        yield running


def in_time(faults: list[str]) -> list[str]:
    """A loaded machine is slow, not wrong: seconds are for the benchmark."""
    return [fault for fault in faults if not fault.endswith(" s")]


def test_mutants(tree: Tree, tmp_path: Path) -> None:
    report = Campaign(tree, tmp_path, seed=3).run(90)
    assert in_time(report.faults) == []
    assert report.healthy == ["verify", "doctor"] and report.restarts == 0
    assert report.mutants == 90 and report.good >= 1
    assert all(report.stored[door] and report.refused[door] for door in ("stow", "c-store", "import"))


def test_bombs(tree: Tree, tmp_path: Path) -> None:
    report = Bombs(tree, tmp_path).run(every=20)
    assert in_time(report.faults) == []
    assert len(report.answers) > 20


def test_who_is_idle_keeps_nobody_waiting(tree: Tree) -> None:
    report = idle.run(tree, sockets=200, associations=20, seconds=4)
    assert report["faults"] == [] and report["restarts"] == 0
    # They wait at no cost: not even a tenth of a core, all of them together.
    assert report["idle_cpu_per_second"] < 0.5


@pytest.mark.peer
def test_a_database_that_hangs(tmp_path: Path) -> None:
    report = outage.database_away(tmp_path / "away", frozen=True, seconds=20)
    assert report["faults"] == []
    assert report["acknowledged"] > 0
    assert report["answers"].keys() & {"STOW 503", "C-STORE A700"}


def test_sudden_deaths(tmp_path: Path) -> None:
    report = kills.run(tmp_path, kills=2, seed=4)
    assert report["faults"] == []
    assert report["kills"] == 2 and report["acknowledged"] > 0
