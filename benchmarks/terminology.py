"""How long a release of SNOMED CT's size takes to load, and how fast it is answered from.

    python -m benchmarks.terminology [--concepts 350000] [--json]

The release is made up (``benchmarks.rf2``). The load is ``hutong terminology load`` in a process of its own, whose peak
memory is reported; the answers are asked over HTTP of ``hutong serve`` by one client, one after another.
"""

import argparse
import json
import os
import random
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from benchmarks import rf2

SCT = "http://snomed.info/sct"
_ASKED = 300


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        release = Path(folder) / "rf2.zip"
        rf2.large(release, options.concepts)
        data = Path(folder) / "data"
        report: dict[str, Any] = {"concepts": options.concepts, "release_bytes": release.stat().st_size}
        report["load"] = _load(release, data)
        report["milliseconds"] = _answers(data, options.concepts)
    print(json.dumps(report, indent=2) if options.json else _table(report))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concepts", type=int, default=350_000)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _load(release: Path, data: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "server", "terminology", "load", str(release), "--as", "snomed"]
    began = time.monotonic()
    done = subprocess.run([*command, "--data", str(data), "--json"], capture_output=True, check=True)
    told = json.loads(done.stdout)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    size = sum(one.stat().st_size for one in data.rglob("*") if one.is_file())
    return {
        "seconds": round(time.monotonic() - began, 1),
        "targets_of_maps": sum(one["targets"] for one in told["maps"]),
        "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_memory_bytes": used.ru_maxrss * 1024,
        "data_folder_bytes": size,
    }


def _answers(data: Path, concepts: int) -> dict[str, dict[str, float]]:
    port, dimse = _free(), _free()
    command = [sys.executable, "-m", "server", "serve", "--data", str(data), "--no-worker", "--json"]
    ports = ["--http-port", str(port), "--dimse-port", str(dimse)]
    with subprocess.Popen([*command, *ports], stdout=subprocess.PIPE, env={**os.environ}) as server:
        try:
            assert server.stdout is not None
            server.stdout.readline()
            with httpx.Client(base_url=f"http://127.0.0.1:{port}/fhir", timeout=60) as client:
                return {name: _measured(client, ask) for name, ask in _questions(concepts).items()}
        finally:
            server.terminate()


def _questions(concepts: int) -> dict[str, Callable[[random.Random], str]]:
    def code(made: random.Random) -> int:
        n = made.randrange(concepts)
        return 200_000_000 + 7 * n if n else rf2.ROOT

    def expand(value_set: str, more: str) -> Callable[[random.Random], str]:
        return lambda _: f"/ValueSet/$expand?url={quote(f'{SCT}?fhir_vs={value_set}', safe='')}&{more}"

    high = 200_000_000 + 7 * 3
    inside = quote(f"{SCT}?fhir_vs=isa/{high}", safe="")
    return {
        "lookup": lambda made: f"/CodeSystem/$lookup?system={SCT}&code={code(made)}",
        "subsumes": lambda made: f"/CodeSystem/$subsumes?system={SCT}&codeA={code(made)}&codeB={code(made)}",
        "validate-code": lambda made: f"/ValueSet/$validate-code?url={inside}&system={SCT}&code={code(made)}",
        "translate": lambda made: (
            f"/ConceptMap/$translate?url={quote(f'{SCT}?fhir_cm=446608001', safe='')}&system={SCT}&code={code(made)}"
        ),
        "expand: 20 of what is below a high concept": expand(f"isa/{high}", "count=20"),
        "expand: 20 of all": expand(f"isa/{rf2.ROOT}", "count=20"),
        "expand: two words, below the root": expand(f"isa/{rf2.ROOT}", "count=20&filter=nod%20lu"),
        "expand: Chinese, below a high concept": expand(f"isa/{high}", "count=20&filter=%E7%BB%93%E8%8A%82"),
        "expand: a reference set": expand("refset/447566000", "count=20"),
        "expand: an expression with a refinement": expand(
            f"ecl/{quote(f'<< {high} : 363698007 = << {high + 7 * 900}')}", "count=20"
        ),
        "search :below": lambda made: f"/Condition?code:below={SCT}|{code(made)}",
        "search :in": lambda _: f"/Condition?code:in={inside}",
    }


def _measured(client: httpx.Client, ask: Callable[[random.Random], str]) -> dict[str, float]:
    made = random.Random(5)
    times = []
    for _ in range(_ASKED):
        address = ask(made)
        began = time.perf_counter()
        answer = client.get(address)
        times.append(1000 * (time.perf_counter() - began))
        if answer.status_code != 200:
            raise SystemExit(f"{address}: {answer.status_code} {answer.text[:300]}")
    cut = statistics.quantiles(times, n=100)
    return {"p50": round(cut[49], 1), "p99": round(cut[98], 1)}


def _free() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _table(report: dict[str, Any]) -> str:
    load = report["load"]
    lines = [
        f"{report['concepts']} concepts loaded in {load['seconds']} s "
        f"({load['processor_seconds']} s of processors, PostgreSQL's too), peak {load['peak_memory_bytes'] >> 20} MiB, "
        f"data folder {load['data_folder_bytes'] >> 20} MiB"
    ]
    lines += [f"{name}: p50 {one['p50']} ms, p99 {one['p99']} ms" for name, one in report["milliseconds"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
