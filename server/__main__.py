"""Enters the command line: ``hutong`` or ``python -m server``."""

from server.cli import main

if __name__ == "__main__":
    main()
