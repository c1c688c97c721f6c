"""Validates all examples and definitions that the FHIR R4 package carries: what is refused, and how many a second.

    python -m benchmarks.fhir_examples [FOLDER] [--json FILE]

FOLDER is the unpacked package hl7.fhir.r4.examples@4.0.1 (``package`` in it); without it the package is fetched with
``npm pack`` into a temporary folder. Figures are per second of processor time. What is refused has to be explained: the
list below is what is wrong in the package itself, by resource and place; anything else exits with 1.
"""

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path

from server.fhir.definitions import load
from server.fhir.validate import validate

PACKAGE = "hl7.fhir.r4.examples@4.0.1"
#: File (or its beginning) and part of the message: faults of the package, each looked at.
FAULTS = {
    ("Questionnaire-qs1", "linkId is missing"): "items without the linkId that R4 asks for",
    ("SearchParameter-", "base is missing"): "parameters generated without a base",
    ("SearchParameter-questionnaireresponse-ext", "no id"): "the id has more than 64 characters",
    ("Bundle-v2-valuesets", "no code"): "v2 codes with two blanks or none but blanks",
    ("ActivityDefinition-", "shows nothing"): "an empty div",
    ("EventDefinition-example", "shows nothing"): "an empty div",
    ("Questionnaire-zika", "shows nothing"): "an empty div",
    ("CodeSystem-v2-0550", "no code"): "codes with two blanks or none but blanks",
    ("ImplementationGuide-fhir", "is missing"): "no name and no status",
    ("ig-r4", "is missing"): "no name and no status",
    ("Bundle-dataelements", "breaks bdl-7"): "entries with the same fullUrl",
    ("DeviceMetric-example", "DeviceDefinition can't be referred to"): "parent has to be a Device",
    ("DeviceUseStatement-example", "Procedure can't be referred to"): "no reason that is allowed",
    ("MedicationRequest-medrx0301", "Practitioner can't be referred to"): "the performer has to be an Organization",
    ("Observation-clinical-gender", "Encounter can't be referred to"): "an Encounter performs nothing",
    ("StructureDefinition-", "breaks sdf-4"): "the patterns Definition, Event, FiveWs and Request have no base",
}


def unpacked(folder: Path) -> Path:
    """The package fetched and unpacked into a folder."""
    subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True)
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package"


def is_explained(file: str, details: str) -> bool:
    """Whether an issue is one of the package's own faults."""
    return any(file.startswith(name) and part in details for name, part in FAULTS)


def run(package: Path) -> dict[str, object]:
    """Validate every resource of the package."""
    definitions = load()
    resources = refused = 0
    seconds = 0.0
    unexplained: Counter[str] = Counter()
    for path in sorted(package.glob("*.json")):
        resource = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
        if "resourceType" not in resource:
            continue
        begin = time.process_time()
        issues = validate(definitions, resource)
        seconds += time.process_time() - begin
        resources += 1
        refused += bool(issues)
        unexplained.update(
            f"{path.name} {issue.expression}: {issue.details}"
            for issue in issues
            if not is_explained(path.name, issue.details)
        )
    return {
        "resources": resources,
        "refused": refused,
        "unexplained": dict(unexplained),
        "per_second": round(resources / seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        package = arguments.folder / "package" if arguments.folder else unpacked(Path(scratch))
        result = run(package)
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result) + "\n", encoding="utf-8")
    sys.exit(1 if result["unexplained"] else 0)


if __name__ == "__main__":
    main()
