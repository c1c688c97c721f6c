"""The command line: one file per command; every command takes ``--json`` where it has something to tell."""

import sys


def main() -> None:
    """Runs the command line; an error of ours becomes one line on standard error and exit status 1."""
    # Imported late: a child of serve reaches its entry through this package and must not load every command.
    from server.cli.commands import application
    from server.cli.output import fail
    from server.errors import HutongError

    try:
        application(next((word for word in sys.argv[1:] if not word.startswith("-")), ""))()
    except HutongError as error:
        fail(error)
        sys.exit(1)
