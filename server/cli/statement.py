"""``hutong statement``: the DICOM conformance statement."""

from pathlib import Path
from typing import Annotated

import typer

from server.app.parts import compose
from server.app.statement import statement as conformance_statement
from server.cli.output import AsJson, print_json
from server.settings import load


def statement(
    out: Annotated[Path | None, typer.Option(help="File to write to instead of standard output.")] = None,
    as_json: AsJson = False,
) -> None:
    """Prints the DICOM conformance statement (PS3.2), made from the tables that the server works by."""
    parts = compose(load())
    text = conformance_statement(parts)
    parts.database.close()
    if out is not None:
        out.write_text(text, encoding="utf-8")
    if as_json:
        print_json({"statement": text})
    elif out is None:
        print(text, end="")
