"""Settings read once: defaults, then a TOML file, then the ``HUTONG_*`` environment, then the command line."""

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from server.errors import BadRequest
from server.settings.fields import Settings
from server.settings.peer import Peer


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
    if isinstance(value, str) and kind is Peer:
        return _peer(value)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        return _table(kind, value)
    if kind is bool or kind == (bool | None):
        return _bool(value)
    if isinstance(value, str) and dataclasses.is_dataclass(kind):
        raise ValueError("write it as a table in the settings file")
    return value if dataclasses.is_dataclass(kind) else kind(value)


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if str(value).lower() not in words:
        raise ValueError("write true or false")
    return words[str(value).lower()]


def _table(kind: type[Any], value: Mapping[str, Any]) -> Any:
    """A TOML table as a value, e.g. one of ``[[peers]]``."""
    known = get_type_hints(kind)
    if unknown := set(value) - set(known):
        raise ValueError(f"there is no {', '.join(sorted(unknown))} in it; it knows {', '.join(known)}")
    return kind(**{name: _to(known[name], item) for name, item in value.items()})


def _peer(value: str) -> Peer:
    """A peer from ``name=AET@host:port[+results]`` or ``name=http://...[+results]``."""
    name, _, rest = value.partition("=")
    wants = rest.endswith("+results")
    rest = rest.removesuffix("+results")
    if rest.startswith(("http://", "https://")):
        return Peer(name=name, url=rest, send_results=wants)
    ae_title, at, address = rest.partition("@")
    host, colon, port = address.rpartition(":")
    if not (at and colon):
        raise ValueError("write name=AET@host:port, name=http://host/dicomweb, either with +results behind it")
    return Peer(name=name, ae_title=ae_title, host=host, port=int(port), send_results=wants)
