"""What commands print: tables for people, one JSON object for programs."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from server.errors import HutongError

#: The option that every command has.
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]

out = Console()
#: Progress and remarks; standard output stays free for results.
err = Console(stderr=True)


def fail(error: HutongError) -> None:
    """Says on standard error what is wrong and how to cure it."""
    for issue in error.issues:
        place = f" ({issue.expression})" if issue.expression else ""
        err.print(f"[red]error:[/red] {issue.details}{place}", highlight=False)


def print_json(value: Any) -> None:
    """One JSON object on standard output."""
    print(json.dumps(value, indent=2, default=str, ensure_ascii=False))


def print_table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows with the same keys as a table."""
    table = Table(title=title)
    columns = list(rows[0]) if rows else []
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if row[column] is None else str(row[column]) for column in columns))
    out.print(table if rows else f"{title}: none")
