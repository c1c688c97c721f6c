"""The list of commands, in the order in which ``hutong --help`` shows them."""

import typer

from server.cli import (
    adapters,
    demo,
    doctor,
    export,
    fetch,
    gc,
    import_,
    lock,
    peers,
    phantom,
    queue,
    retention,
    serve,
    settings,
    statement,
    tags,
    token,
    verify,
    version,
    worker,
)
from server.cli.viewer import command as viewer

app = typer.Typer(
    name="hutong",
    help="Hutong: a standards-based interoperability server for imaging AI.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("serve")(serve.serve)
app.command("worker")(worker.worker)
app.command("demo")(demo.demo)
app.command("phantom")(phantom.phantom)
app.command("import")(import_.import_)
app.command("export")(export.export)
app.command("verify")(verify.verify)
app.command("gc")(gc.gc)
app.command("retention")(retention.retention)
app.add_typer(lock.app, name="lock")
app.add_typer(adapters.app, name="adapters")
app.add_typer(viewer.app, name="viewer")
app.add_typer(token.app, name="token")
app.add_typer(tags.app, name="tags")
app.add_typer(peers.app, name="peers")
app.add_typer(queue.app, name="queue")
app.command("fetch")(fetch.fetch)
app.command("settings")(settings.settings)
app.command("doctor")(doctor.doctor)
app.command("statement")(statement.statement)
app.command("version")(version.version)
