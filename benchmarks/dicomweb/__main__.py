"""``python -m benchmarks.dicomweb FOLDER``: sends, searches and retrieves, from Hutong and from Orthanc in one run.

Each round starts both servers over empty folders, one after the other, so that neither takes the other's processor;
the figures are the medians of the rounds. Needs Orthanc and its DICOMweb plugin (Debian: orthanc, orthanc-dicomweb).
"""

import argparse
import json
import shutil
import statistics
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks.dicomweb import measures, memory, report, servers, synthetic
from benchmarks.dicomweb.instances import Maker
from benchmarks.dicomweb.measures import Figures
from benchmarks.dicomweb.servers import Server

PARTS = ("stow", "cstore", "qido", "wado", "memory")
_SYNTHETIC = 300_000


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="an empty folder on the disk to be measured; emptied as we go")
    parser.add_argument("--instances", type=int, default=3000, help="instances sent to each server in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--synthetic", type=int, default=_SYNTHETIC, help="rows added for the search at scale; 0: none")
    parser.add_argument("--without-orthanc", action="store_true")
    parser.add_argument("--orthanc", default="", help="Orthanc's program, where it is not Debian's")
    parser.add_argument("--orthanc-plugin", default="", help="its DICOMweb plugin")
    parser.add_argument("--json", action="store_true", dest="as_json")
    given = parser.parse_args(argv)
    only = [part for part in given.only.split(",") if part in PARTS]
    rounds: dict[str, list[Figures]] = {}
    for number in range(given.rounds):
        for name, start in _starters(given, number).items():
            with start() as server:
                figures = _round(server, only, given.instances, number, given.synthetic)
            rounds.setdefault(name, []).append(figures)
            print(f"round {number + 1} {name}: {_short(figures)}", file=sys.stderr, flush=True)
    medians = {name: _medians(found) for name, found in rounds.items()}
    if given.as_json:
        json.dump({"medians": medians, "rounds": rounds}, sys.stdout, indent=1)
    else:
        print("\n".join(report.lines(medians["hutong"], medians.get("orthanc", {}))))


def _starters(given: argparse.Namespace, number: int) -> dict[str, Callable[[], AbstractContextManager[Server]]]:
    """Both servers; who comes first alternates."""

    def fresh() -> Path:
        for name in ("hutong", "orthanc"):
            shutil.rmtree(given.folder / name, ignore_errors=True)
        return Path(given.folder)

    both: dict[str, Callable[[], AbstractContextManager[Server]]] = {
        "hutong": lambda: servers.hutong(fresh()),
        "orthanc": lambda: servers.orthanc(fresh(), given.orthanc, given.orthanc_plugin),
    }
    if given.without_orthanc:
        del both["orthanc"]
    return dict(reversed(both.items())) if number % 2 else both


def _round(server: Server, only: list[str], instances: int, seed: int, rows: int) -> Figures:
    figures: Figures = {}
    maker = Maker(seed)
    if {"stow", "qido", "wado"} & set(only):
        stored, samples = measures.stow(server, maker, instances)
        figures |= stored if "stow" in only else {}
    if "cstore" in only:
        figures |= measures.cstore(server, maker, instances)
    if "qido" in only:
        figures |= measures.qido(server, samples)
    if "wado" in only:
        figures |= measures.wado(server, samples)
    if "memory" in only:
        figures |= _memory(server)
    if "qido" in only and server.name == "hutong" and rows:
        many = measures.qido(server, synthetic.fill(server, rows))
        figures |= {f"{name} at {rows}": figure for name, figure in many.items()}
    return figures


def _memory(server: Server) -> Figures:
    if server.name == "orthanc":
        return {"memory": memory.resident(server.process)}
    parts = memory.by_part(server)
    whole = sum(figure for name, figure in parts.items() if name != "rest")
    return {"memory": whole} | {f"memory {name}": figure for name, figure in parts.items()}


def _medians(rounds: list[Figures]) -> Figures:
    return {name: statistics.median(figures[name] for figures in rounds) for name in rounds[0]}


def _short(figures: Figures) -> str:
    return ", ".join(f"{name} {figure:.1f}" for name, figure in figures.items())


if __name__ == "__main__":
    main()
