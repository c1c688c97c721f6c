"""The commands, in the order in which ``hutong --help`` shows them; each is loaded only when it is asked for."""

from importlib import import_module

import typer

#: Command -> where it is; a group is a typer application, anything else a function.
COMMANDS = {
    "serve": "server.cli.serve:serve",
    "worker": "server.cli.worker:worker",
    "demo": "server.cli.demo.command:demo",
    "phantom": "server.cli.phantom:phantom",
    "import": "server.cli.import_:import_",
    "export": "server.cli.export:export",
    "verify": "server.cli.verify:verify",
    "check": "server.cli.check:check",
    "reindex": "server.cli.reindex:reindex",
    "gc": "server.cli.gc:gc",
    "retention": "server.cli.retention:retention",
    "lock": "server.cli.lock:app",
    "adapters": "server.cli.adapters:app",
    "evaluate": "server.cli.evaluate.command:evaluate_",
    "viewer": "server.cli.viewer.command:app",
    "token": "server.cli.token:app",
    "tags": "server.cli.tags:app",
    "packages": "server.cli.packages:app",
    "peers": "server.cli.peers:app",
    "terminology": "server.cli.terminology:app",
    "queue": "server.cli.queue:app",
    "fetch": "server.cli.fetch:fetch",
    "settings": "server.cli.settings:settings",
    "doctor": "server.cli.doctor:doctor",
    "statement": "server.cli.statement:statement",
    "version": "server.cli.version:version",
}


def application(only: str = "") -> typer.Typer:
    """The command line: with every command, or with one, since loading all of them takes seconds."""
    app = typer.Typer(
        name="hutong",
        help="Hutong: a standards-based interoperability server for imaging AI.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    # With a callback, one command alone keeps its name.
    app.callback()(_nothing)
    for name in [only] if only in COMMANDS else COMMANDS:
        module, _, attribute = COMMANDS[name].partition(":")
        command = getattr(import_module(module), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _nothing() -> None:
    """Hutong: a standards-based interoperability server for imaging AI."""
