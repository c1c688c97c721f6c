"""Time and memory of one analysis, from files to Findings.

    taskset -c 0,1 python -m benchmarks.analysis_cost STUDY_FOLDER [--bundle nodule_detection] [--json]

One process, as the worker runs it; peak memory is its own (ru_maxrss). The bar is 25 s and 3 GiB for 140 slices
on two cores.
"""

import argparse
import json
import resource
import time
from datetime import UTC, datetime
from pathlib import Path

import pydicom

from ai_adapters.registry import registry
from ai_adapters.run import run
from ai_adapters.selection import analysis_key, select
from ai_adapters.volume import load


def measure(study: Path, name: str, threads: int) -> dict[str, object]:
    """Load, select, infer, measure; what each step took."""
    begin = time.perf_counter()
    bundle = registry().get(name)
    places = {}
    headers = []
    for file in sorted(study.rglob("*.dcm")):
        header = pydicom.dcmread(file, stop_before_pixels=True)
        places[header.SOPInstanceUID] = file
        headers.append(header)
    images = select(bundle.manifest, headers)
    volume = load(images, lambda header: pydicom.dcmread(places[header.SOPInstanceUID]))
    loaded = time.perf_counter()
    findings = run(
        bundle,
        volume,
        identify=lambda _, index: (f"Nodule {index + 1}", f"2.25.{index + 1}"),
        timestamp=datetime.now(UTC),
        key=analysis_key(bundle.manifest, images),
        threads=threads,
    )
    end = time.perf_counter()
    return {
        "slices": len(images),
        "findings": len(findings.findings),
        "seconds_load": round(loaded - begin, 2),
        "seconds_analysis": round(end - loaded, 2),
        "seconds": round(end - begin, 2),
        "processor_seconds": round(time.process_time(), 2),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--bundle", default="nodule_detection")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(options.study, options.bundle, options.threads)
    print(json.dumps(figures) if options.json else "\n".join(f"{name:20} {value}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
