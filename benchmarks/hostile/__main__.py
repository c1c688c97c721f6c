"""The command line: ``python -m benchmarks.hostile FOLDER --only mutants,bombs,idle,outage,kills``."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.hostile import idle, kills, outage
from benchmarks.hostile.bombs import Bombs
from benchmarks.hostile.mutants import Campaign
from benchmarks.hostile.server import Tree


def _mutants(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    with Tree(folder / "mutants" / "data") as tree:
        return Campaign(tree, folder / "mutants", arguments.seed).run(arguments.mutants).shown()


def _bombs(folder: Path, _arguments: argparse.Namespace) -> dict[str, Any]:
    with Tree(folder / "bombs" / "data") as tree:
        return Bombs(tree, folder / "bombs").run().shown()


def _idle(folder: Path, _arguments: argparse.Namespace) -> dict[str, Any]:
    with Tree(folder / "idle" / "data") as tree:
        return idle.run(tree)


def _outage(folder: Path, _arguments: argparse.Namespace) -> dict[str, Any]:
    return outage.run(folder / "outage")


def _kills(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    return kills.run(folder / "kills", kills=arguments.kills, seed=arguments.seed)


PARTS: dict[str, Callable[[Path, argparse.Namespace], dict[str, Any]]] = {
    "mutants": _mutants,
    "bombs": _bombs,
    "idle": _idle,
    "outage": _outage,
    "kills": _kills,
}


def main() -> None:
    """Runs the parts one after the other; prints a report, and exits with 1 where something fell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="an empty folder for data and logs")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, joined by commas")
    parser.add_argument("--mutants", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    report: dict[str, Any] = {}
    for name in arguments.only.split(","):
        (arguments.folder / name).mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        report[name] = PARTS[name](arguments.folder, arguments)
        report[name]["seconds"] = round(time.monotonic() - began, 1)
        # A part that fails hides nothing of those before it.
        print(json.dumps({name: report[name]}), file=sys.stderr, flush=True)
    print(json.dumps(report, indent=None if arguments.json else 1))
    sys.exit(any(part["faults"] for part in report.values()))


if __name__ == "__main__":
    main()
