"""All settings, read once: defaults, then a TOML file, then the ``HUTONG_*`` environment.

Every field has a page line in ``docs/settings.md``; a test fails when one is missing there.
"""

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, get_args, get_origin

from server.errors import BadRequest


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """A DICOM neighbour: who may call us by DIMSE, and where results are sent."""

    name: str
    #: Application Entity title; empty for a DICOMweb-only peer.
    ae_title: str = ""
    host: str = "127.0.0.1"
    port: int = 104
    #: STOW-RS base URL; when set, instances are sent by DICOMweb instead of C-STORE.
    url: str = ""
    #: Whether our results (SR, SEG) are sent on to it.
    send_results: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What the operator decides."""

    #: Folder of everything that must survive: database cluster, packs, bundles.
    data: Path = Path("hutong-data")
    host: str = "127.0.0.1"
    http_port: int = 8080
    dimse_port: int = 11112
    ae_title: str = "HUTONG"
    #: Whether serve starts an analysis worker of its own.
    worker: bool = True
    #: PostgreSQL 15+; empty for the embedded one in ``data``.
    database_url: str = ""
    #: Where packs are; empty for ``data/blobs``.
    blob_url: str = ""
    #: The address clients see, e.g. behind a proxy; empty to derive it from the request.
    base_url: str = ""
    #: Seconds without a new instance after which a study counts as complete.
    study_quiet: float = 10.0
    #: Prefix of UIDs that we make.
    uid_root: str = "2.25"
    #: Zone of DICOM times that carry no offset (IANA name).
    tenant_zone: str = "UTC"
    #: Largest single instance, bytes.
    max_instance_bytes: int = 2 << 30
    #: Largest inflated/compressed ratio of a deflated instance.
    max_inflate_ratio: int = 200
    #: Deepest sequence nesting.
    max_sequence_depth: int = 32
    #: Seconds that one notification POST may take.
    notify_timeout: float = 10.0
    #: Whether subscribers on loopback addresses may be called; None follows ``is_loopback``.
    notify_loopback: bool | None = None
    #: Private networks whose addresses may be called, e.g. 10.0.0.0/8; public addresses always may.
    notify_networks: tuple[str, ...] = ()
    #: Days that acknowledged events are kept for ``$events``.
    event_retention_days: int = 90
    #: Folder of further adapter bundles; empty for ``data/bundles``.
    bundles: str = ""
    #: ONNX Runtime execution providers to try, in order; empty for CUDA, then CPU.
    providers: tuple[str, ...] = ()
    #: Threads of one inference; 0 for all cores.
    inference_threads: int = 0
    #: Named point at which the process kills itself; for crash tests only.
    kill_at: str = ""
    log_level: str = "info"
    peers: tuple[Peer, ...] = field(default=())

    @property
    def is_loopback(self) -> bool:
        """Whether the server listens on loopback only: then it is open, and says so."""
        return self.host == "localhost" or (_is_ip(self.host) and ip_address(self.host).is_loopback)

    @property
    def tokens_required(self) -> bool:
        """Off loopback every request needs a token."""
        return not self.is_loopback

    @property
    def blobs(self) -> str:
        """Where packs are, as a path or URL."""
        return self.blob_url or str(self.data / "blobs")

    @property
    def bundle_folder(self) -> Path:
        """Where bundles brought in by ``adapters add`` are."""
        return Path(self.bundles) if self.bundles else self.data / "bundles"


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def load(
    overrides: Mapping[str, Any] | None = None,
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """The settings from all sources; raises BadRequest that names the setting and what it should be."""
    return load_with_sources(overrides, file=file, environment=environment)[0]


def load_with_sources(
    overrides: Mapping[str, Any] | None = None,
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[Settings, dict[str, str]]:
    """The settings, and for each where its value came from: default, file, environment or command line."""
    environment = os.environ if environment is None else environment
    named = environment.get("HUTONG_CONFIG")
    path = file or (Path(named) if named else Path("hutong.toml"))
    values: dict[str, Any] = {}
    sources = {f.name: "default" for f in dataclasses.fields(Settings)}
    if path.is_file():
        _merge(values, sources, _read_toml(path), f"file {path}")
    elif file or named:
        raise BadRequest(f"The settings file {path} is not there.", expression="HUTONG_CONFIG")
    _merge(values, sources, _from_environment(environment), "environment")
    _merge(values, sources, {k: v for k, v in (overrides or {}).items() if v is not None}, "command line")
    return Settings(**{name: _convert(name, value) for name, value in values.items()}), sources


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise BadRequest(f"The settings file {path} is no TOML: {error}.", expression=str(path)) from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    known = {f.name for f in dataclasses.fields(Settings)}
    found = {
        key.removeprefix("HUTONG_").lower(): value for key, value in environment.items() if key.startswith("HUTONG_")
    }
    return {name: value for name, value in found.items() if name in known}


def _merge(values: dict[str, Any], sources: dict[str, str], more: Mapping[str, Any], source: str) -> None:
    for name, value in more.items():
        if name not in sources:
            raise BadRequest(f"There is no setting '{name}'; `hutong settings` lists them all.", expression=name)
        values[name] = value
        sources[name] = source


def _convert(name: str, value: Any) -> Any:
    kind = {f.name: f.type for f in dataclasses.fields(Settings)}[name]
    try:
        return _to(kind, value)
    except (TypeError, ValueError) as error:
        raise BadRequest(f"The setting '{name}' can't be {value!r}: {error}.", expression=name) from error


def _to(kind: Any, value: Any) -> Any:
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        parts = [part for part in value.split(",") if part] if isinstance(value, str) else value
        return tuple(_to(item, part) for part in parts)
    if kind is Peer:
        return _peer(value)
    if kind is bool or kind == (bool | None):
        return _bool(value)
    return kind(value)


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if str(value).lower() not in words:
        raise ValueError("write true or false")
    return words[str(value).lower()]


def _peer(value: Any) -> Peer:
    """A peer from TOML (a table) or from ``name=AET@host:port[+results]`` or ``name=http://...[+results]``."""
    if isinstance(value, Peer):
        return value
    if isinstance(value, Mapping):
        return Peer(**value)
    name, _, rest = str(value).partition("=")
    wants = rest.endswith("+results")
    rest = rest.removesuffix("+results")
    if rest.startswith(("http://", "https://")):
        return Peer(name=name, url=rest, send_results=wants)
    ae_title, at, address = rest.partition("@")
    host, colon, port = address.rpartition(":")
    if not (at and colon):
        raise ValueError("write name=AET@host:port, name=http://host/dicomweb, either with +results behind it")
    return Peer(name=name, ae_title=ae_title, host=host, port=int(port), send_results=wants)
