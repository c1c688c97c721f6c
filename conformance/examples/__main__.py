"""Stores the standard's examples in a FHIR server and reads them back.

    npm pack hl7.fhir.r4.examples@4.0.1
    python -m conformance.examples hl7.fhir.r4.examples-4.0.1.tgz              over a Hutong of its own
    python -m conformance.examples FOLDER --url https://host/fhir --token T    any server, which then holds them
    python -m conformance.examples FOLDER --json

Each resource is sent by update under its own id and read back; what comes back has to be equal: the same properties and
values, decimals digit for digit; meta.versionId and meta.lastUpdated are the server's. Exit status 1 if any is unequal.
"""

import argparse
import contextlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

import httpx

from conformance.examples.exchange import Outcome, exchange
from conformance.examples.package import resources
from conformance.own_server import NotStarted, own_server

#: So many issues are shown of one refusal.
_SHOWN = 3


def main(argv: list[str] | None = None) -> int:
    """Runs the command; 1 when something stored came back as another, 2 when it can't be run."""
    parser = argparse.ArgumentParser(prog="python -m conformance.examples", description="Store and read back examples.")
    parser.add_argument("source", type=Path, help="folder or .tgz of a FHIR package")
    parser.add_argument("--url", help="FHIR base of a running server; without it a Hutong is started for this")
    parser.add_argument("--token", default="", help="bearer token for that server")
    parser.add_argument("--json", action="store_true", help="print the figures and lists as JSON")
    options = parser.parse_args(argv)
    server = contextlib.nullcontext(options.url) if options.url else own_server()
    try:
        with server as base:
            outcome = exchange(base, resources(options.source), options.token)
    except (NotStarted, OSError, httpx.HTTPError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({"stored": outcome.stored, **asdict(outcome)}, indent=1))
    else:
        print("\n".join(_lines(outcome)))
    return 1 if outcome.unequal else 0


def _lines(outcome: Outcome) -> list[str]:
    lines = [f"refused {name}: {issue}" for name, issues in outcome.refused.items() for issue in issues[:_SHOWN]]
    lines += [f"unequal {name}: {', '.join(places[:_SHOWN])}" for name, places in outcome.unequal.items()]
    lines.append(
        f"{outcome.resources} resources: {outcome.stored} stored, {outcome.equal} of them equal when read back, "
        f"{len(outcome.unequal)} unequal; {len(outcome.refused)} refused"
    )
    return lines


if __name__ == "__main__":
    sys.exit(main())
