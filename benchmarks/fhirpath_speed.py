"""How many FHIRPath expressions a second, ours or fhirpathpy's, each compiled once and applied many times.

    python -m benchmarks.fhirpath_speed [--engine ours|fhirpathpy] [--seconds 0.5]

Run it for fhirpathpy with a Python that has it (it is no dependency of the project). Resources are those of the tests;
figures are per second of processor time, so that a busy machine does not count.
"""

import argparse
import importlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

INPUTS = Path(__file__).parents[1] / "tests/fhir/fhirpath/inputs"
CASES = (
    ("patient-example", "Patient.name.given"),
    ("patient-example", "Patient.name.where(use = 'official').family"),
    ("patient-example", "Patient.managingOrganization.where(resolve() is Organization)"),
    ("patient-example", "Patient.birthDate < @1980-01-01"),
    ("patient-example", "name.exists() or telecom.exists() or address.exists() or organization.exists()"),
    ("observation-example", "Observation.code.coding.code"),
    ("observation-example", "(Observation.value as Quantity) | (Observation.value as SampledData)"),
    ("observation-example", "Observation.value.value > 100"),
    ("observation-example", "dataAbsentReason.empty() or value.empty()"),
    ("questionnaire-example", "descendants().linkId.isDistinct()"),
)


def ours(expression: str) -> Callable[[Any], Any]:
    """Our engine, with the definitions of R4."""
    model = importlib.import_module("server.fhir.definitions").load()
    compiled = importlib.import_module("server.fhir.fhirpath").compile_expression(expression)
    return lambda resource: compiled.evaluate(resource, model=model)


def fhirpathpy(expression: str) -> Callable[[Any], Any]:
    """fhirpathpy's compiled form, with its R4 model."""
    engine = importlib.import_module("fhirpathpy")
    compiled: Callable[[Any], Any] = engine.compile(
        expression, importlib.import_module("fhirpathpy.models").models["r4"]
    )
    return compiled


def rate(apply: Callable[[Any], Any], resource: Any, seconds: float) -> float:
    """Applications for each second of processor time."""
    apply(resource)
    begin, count = time.process_time(), 0
    while time.process_time() - begin < seconds:
        for _ in range(20):
            apply(resource)
        count += 20
    return count / (time.process_time() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=("ours", "fhirpathpy"), default="ours")
    parser.add_argument("--seconds", type=float, default=0.5)
    arguments = parser.parse_args()
    prepare = {"ours": ours, "fhirpathpy": fhirpathpy}[arguments.engine]
    for name, expression in CASES:
        resource = json.loads((INPUTS / f"{name}.json").read_text(encoding="utf-8"))
        if arguments.engine == "fhirpathpy" and "resolve(" in expression:
            print(f"{'not there':>12}  {expression}")
            continue
        print(f"{rate(prepare(expression), resource, arguments.seconds):>10,.0f}/s  {expression}")


if __name__ == "__main__":
    main()
