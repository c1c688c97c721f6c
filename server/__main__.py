"""Enters the command line: ``python -m server``."""

if __name__ == "__main__":
    # Here and not above: the processes that serve starts import this module too, and need no command line.
    from server.cli import main

    main()
