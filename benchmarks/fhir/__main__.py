"""``python -m benchmarks.fhir BUNDLES``: import, CRUD, searches and conditional creates over FHIR's REST API.

BUNDLES is a folder or tar archive of transaction bundles whose ids are UUIDs (Synthea's). Without ``--url`` a server of
its own runs over an empty folder; with it any FHIR server can be measured, which is then best empty.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.fhir import conditional, crud, importing, report, searches
from benchmarks.fhir.importing import Figures
from benchmarks.hostile.server import Tree

PARTS = ("search", "crud", "conditional", "import")


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", type=Path)
    parser.add_argument("--url", default="", help="FHIR base of a running server, http://host:port/path")
    parser.add_argument("--token", default="", help="bearer token for it")
    parser.add_argument("--data", type=Path, help="folder for the own server; a temporary one without it")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--seconds", type=float, default=60, help="length of import and CRUD")
    parser.add_argument("--times", type=int, default=10, help="how much more data the searches see the second time")
    parser.add_argument("--json", action="store_true", dest="as_json")
    given = parser.parse_args(argv)
    with _server(given.url, given.data) as (base, tree):
        figures = _measured(given, base, tree)
    if given.as_json:
        json.dump(figures, sys.stdout, indent=1)
    else:
        print("\n".join(report.lines(figures)))


@contextmanager
def _server(url: str, data: Path | None) -> Iterator[tuple[str, Tree | None]]:
    if url:
        yield url, None
        return
    with tempfile.TemporaryDirectory() as folder, Tree((data or Path(folder)) / "data") as tree:
        yield f"http://127.0.0.1:{tree.http_port}/fhir", tree


def _measured(given: argparse.Namespace, base: str, tree: Tree | None) -> Figures:
    only = given.only.split(",")
    figures: Figures = {}
    source = importing.Given(base=base, token=given.token, bundles=given.bundles)

    def step(name: str, found: Figures, cpu: dict[str, float]) -> None:
        used = report.used(name, cpu, report.cpu(tree), found)
        figures.update(found | used)
        print(report.short(found | used), file=sys.stderr, flush=True)

    parts: dict[str, Callable[[], Figures]] = {
        "search": lambda: searches.run(source, times=given.times),
        "crud": lambda: crud.run(base, given.token, given.bundles, seconds=given.seconds),
        "conditional": lambda: conditional.run((base,), given.token),
        "import": lambda: importing.run(importing.for_seconds(source, given.seconds)),
    }
    for part in (part for part in parts if part in only):
        before = report.cpu(tree)
        step(part, parts[part](), before)
    return figures


if __name__ == "__main__":
    main()
