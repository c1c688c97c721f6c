"""``hutong settings``: every setting, its value and where that came from."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from server.cli.output import AsJson, print_json, print_table
from server.settings import load_with_sources


def settings(
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings.")] = None, as_json: AsJson = False
) -> None:
    """Prints every setting with its value and its source."""
    values, sources = load_with_sources(file=config)
    rows = [
        {"setting": field.name, "value": _shown(getattr(values, field.name)), "source": sources[field.name]}
        for field in dataclasses.fields(values)
    ]
    if as_json:
        print_json({row["setting"]: {"value": row["value"], "source": row["source"]} for row in rows})
    else:
        print_table("Settings", rows)


def _shown(value: object) -> str:
    """Passwords inside a database URL stay out of sight."""
    text = str(value)
    head, at, tail = text.rpartition("@")
    if at and "://" in head and ":" in head.split("://", 1)[1]:
        return head.rsplit(":", 1)[0] + ":***@" + tail
    return text
