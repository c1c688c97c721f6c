"""The command line: one file per command; every command takes ``--json`` where it has something to tell."""

import sys

from server.cli.commands import app
from server.cli.output import fail
from server.errors import HutongError


def main() -> None:
    """Runs the command line; an error of ours becomes one line on standard error and exit status 1."""
    try:
        app()
    except HutongError as error:
        fail(error)
        sys.exit(1)


__all__ = ["main"]
