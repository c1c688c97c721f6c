"""``hutong serve``: the whole server in one command."""

import contextlib
import fcntl
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import httpx
import typer

from server.app import database, processes
from server.cli.output import AsJson, err, print_json
from server.cli.supervise import Supervisor
from server.dimse import tls
from server.errors import HutongError, Unavailable
from server.settings import Settings, load
from server.store.embedded import EmbeddedPostgres
from server.telemetry import metrics

_READY_WITHIN = 120.0
#: Seconds between two looks at the embedded database.
_LOOK_SECONDS = 0.5


def serve(
    data: Annotated[Path | None, typer.Option(help="Folder of everything that must survive.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    http_port: Annotated[int | None, typer.Option(help="Port of DICOMweb, FHIR and the results page.")] = None,
    dimse_port: Annotated[int | None, typer.Option(help="Port of DICOM's own protocol (C-STORE, C-ECHO).")] = None,
    worker: Annotated[bool | None, typer.Option("--worker/--no-worker", help="Run adapters here.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings.")] = None,
    as_json: AsJson = False,
) -> None:
    """Serves DICOMweb, DIMSE and FHIR until SIGTERM or Ctrl-C; prints one line when ready."""
    given = {"data": data, "host": host, "http_port": http_port, "dimse_port": dimse_port, "worker": worker}
    settings = load(given, file=config)
    settings = replace(settings, data=settings.data.absolute())
    settings.data.mkdir(parents=True, exist_ok=True)
    with _only_one(settings), _database(settings) as ready_settings:
        database.prepare(ready_settings)
        _check_rules(ready_settings)
        _refuse_open_doors(ready_settings)
        _supervise(ready_settings, as_json=as_json)


def _check_rules(settings: Settings) -> None:
    """Refuses rules that could never fit; in a process of its own, since this one stays and shall stay small."""
    if settings.forward or settings.priors:
        with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as alone:
            alone.submit(_check, settings).result()


def _check(settings: Settings) -> None:
    from server.app.outbound import check

    check(settings)


def _supervise(settings: Settings, *, as_json: bool) -> None:
    metrics.share(settings.data / "metrics")
    supervisor = Supervisor(settings, processes.processes(settings))
    signal.signal(signal.SIGTERM, lambda *_: supervisor.stop())
    signal.signal(signal.SIGINT, lambda *_: supervisor.stop())
    supervisor.start()
    threading.Thread(target=_say_when_ready, args=(settings, as_json), daemon=True).start()
    supervisor.watch()


def _say_when_ready(settings: Settings, as_json: bool) -> None:
    url = f"http://{_bracketed(settings.host)}:{settings.http_port}"
    deadline = time.monotonic() + _READY_WITHIN
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{_local(url)}/readyz", timeout=2).is_success and _listens(settings):
                break
        time.sleep(0.1)
    else:
        err.print(f"hutong: not ready after {_READY_WITHIN:.0f} s; see the log above")
        return
    access = "open to every program on this machine (loopback)" if settings.is_loopback else "bearer tokens"
    if as_json:
        print_json({"ready": True, "url": url, "dimse": f"{settings.host}:{settings.dimse_port}", "access": access})
    else:
        dimse = f"{settings.ae_title}@{settings.host}:{settings.dimse_port}"
        print(f"hutong is ready: {url}  DICOM {dimse}  access: {access}")
    sys.stdout.flush()


def _local(url: str) -> str:
    """The address by which this machine reaches itself when the server listens on all of them."""
    return url.replace("//0.0.0.0", "//127.0.0.1").replace("//[::]", "//[::1]")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _listens(settings: Settings) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    try:
        with socket.create_connection((host, settings.dimse_port), timeout=1):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    """One server per data folder, told by a lock that ends with the process; and its ports must be free."""
    with (settings.data / "serve.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Unavailable(f"A server already runs on {settings.data}; end it, or name another --data.") from error
        ports = {"http_port": settings.http_port, "dimse_port": settings.dimse_port}
        if settings.dimse_tls_certificate:
            ports["dimse_tls_port"] = settings.dimse_tls_port
            tls.server_context(settings)
        for name, port in ports.items():
            _refuse_taken_port(settings.host, port, name)
        yield


def _refuse_taken_port(host: str, port: int, name: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            option = name.replace("_", "-")
            raise Unavailable(f"{host}:{port} can't be had ({error.strerror}); choose another --{option}.") from error


@contextlib.contextmanager
def _database(settings: Settings) -> Iterator[Settings]:
    """The settings with a database that runs: the configured one, or the embedded one for as long as we run."""
    if settings.database_url:
        yield settings
        return
    embedded = EmbeddedPostgres(settings.data)
    url = embedded.start(exclusive=True)
    over = threading.Event()
    keeper = threading.Thread(target=_keep_alive, args=(embedded, over), daemon=True)
    keeper.start()
    try:
        yield replace(settings, database_url=url)
    finally:
        over.set()
        keeper.join()
        embedded.stop()


def _keep_alive(embedded: EmbeddedPostgres, over: threading.Event) -> None:
    """Starts the embedded database again when it dies, e.g. since the disk was full; tries till it succeeds."""
    while not over.wait(_LOOK_SECONDS):
        try:
            if embedded.revive():
                print("hutong: the database ended and was started again", file=sys.stderr, flush=True)
        except Unavailable as error:
            print(f"hutong: {error.details}", file=sys.stderr, flush=True)


def _refuse_open_doors(settings: Settings) -> None:
    """Off loopback nothing is open: without a token nobody could be told apart."""
    if settings.tokens_required and not database.has_tokens(settings):
        raise HutongError(
            f"On {settings.host} every caller needs a token and there is none yet; "
            "make one by `hutong token create --scope read --scope write`, or listen on 127.0.0.1.",
            expression="host",
        )
