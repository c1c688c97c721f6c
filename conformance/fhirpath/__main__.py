"""Runs HL7's FHIRPath suite against an engine.

    python -m conformance.fhirpath ../shared/data/vectors/r4/fhirpath
    python -m conformance.fhirpath FOLDER --json
    python -m conformance.fhirpath FOLDER --inputs FOLDER --engine "node engine.js"

FOLDER holds the suite's XML. The inputs are FHIR JSON under the names that the suite gives them; those beside the
source's tests unless named. The engine is a command that reads lines of {"expression", "resource"} and answers each
with {"result": [{"type", "text"}]} or {"error"}; Hutong's unless named. Exit status 1 if fewer pass than --least.
"""

import argparse
import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path

from conformance.fhirpath.run import EngineEnded, run

_INPUTS = Path(__file__).parents[2] / "tests" / "fhir" / "fhirpath" / "inputs"


def main(argv: list[str] | None = None) -> int:
    """Runs the command; 1 when too few tests pass, 2 when they can't be run or there are none."""
    parser = argparse.ArgumentParser(prog="python -m conformance.fhirpath", description="Run HL7's FHIRPath suite.")
    parser.add_argument("folder", type=Path, help="folder of the suite's XML")
    parser.add_argument("--inputs", type=Path, default=_INPUTS, help="folder of the resources as JSON")
    parser.add_argument("--engine", default=f"{shlex.quote(sys.executable)} -m server.fhir.fhirpath")
    parser.add_argument("--least", type=int, default=900, help="so many have to pass")
    parser.add_argument("--json", action="store_true", help="print the figures and failures as JSON")
    options = parser.parse_args(argv)
    try:
        count, failures = run(options.folder, options.inputs, shlex.split(options.engine))
    except (EngineEnded, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    passed = count - len(failures)
    if options.json:
        print(json.dumps({"tests": count, "passed": passed, "failures": [asdict(each) for each in failures]}, indent=1))
    else:
        for each in failures:
            print(f"{each.group}/{each.name}: {each.expression}\n  expected {each.expected}\n  got      {each.got}")
        print(f"{passed} of {count} tests pass")
    if not count:
        print(f"error: no suite in {options.folder}", file=sys.stderr)
        return 2
    return 0 if passed >= options.least else 1


if __name__ == "__main__":
    sys.exit(main())
