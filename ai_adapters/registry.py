"""The bundles at hand: those that come with the package and those that were added to the data folder.

A bundle is a folder with ``manifest.json`` and the ONNX files that it names; digests are checked on every load. A
foreign bundle is run once in a child process with limits before it is copied in.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ai_adapters.manifest import BrokenManifest, Manifest, parse

BUILT_IN = Path(__file__).with_name("bundles")
#: Larger files are not read.
_LARGEST_MANIFEST, _LARGEST_MODEL = 1 << 20, 1 << 30
_PROBE_SECONDS = 120.0


class UnknownBundle(Exception):
    """No bundle of that name; the message lists those that there are."""


class RefusedBundle(Exception):
    """A bundle that may not come in; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A manifest and the models that it names, checked."""

    manifest: Manifest
    folder: Path
    #: Bytes of the ONNX files by the manifest's names for them.
    models: dict[str, bytes]


def read_bundle(folder: Path) -> Bundle:
    """The bundle in a folder; raises BrokenManifest where the manifest or a digest does not hold."""
    path = folder / "manifest.json"
    if not path.is_file() or path.stat().st_size > _LARGEST_MANIFEST:
        raise BrokenManifest(f"{folder.name}: no manifest.json of at most {_LARGEST_MANIFEST} bytes")
    manifest = parse(path.read_bytes())
    models = {}
    for name, model in manifest.models.items():
        file = folder / model.file
        if not file.is_file() or file.is_symlink() or file.stat().st_size > _LARGEST_MODEL:
            raise BrokenManifest(f"manifest.json models.{name}.file: {model.file} is not a plain file in the bundle")
        models[name] = file.read_bytes()
        digest = hashlib.sha256(models[name]).hexdigest()
        if digest != model.sha256:
            raise BrokenManifest(f"manifest.json models.{name}.sha256: the file has {digest}; is it the right file?")
    return Bundle(manifest=manifest, folder=folder, models=models)


@dataclass(frozen=True, kw_only=True)
class Registry:
    """Bundles in folders of bundles; a name found in an earlier folder hides it in a later one."""

    folders: tuple[Path, ...]

    def bundles(self) -> list[Bundle]:
        """All bundles, by name."""
        places: dict[str, Path] = {}
        for folder in self.folders:
            for path in sorted(folder.glob("*/manifest.json")):
                places.setdefault(path.parent.name, path.parent)
        return [read_bundle(place) for _, place in sorted(places.items())]

    def get(self, name: str) -> Bundle:
        """The bundle of that name; raises UnknownBundle."""
        known = []
        for folder in self.folders:
            if name in (known_here := [path.parent.name for path in sorted(folder.glob("*/manifest.json"))]):
                return read_bundle(folder / name)
            known += known_here
        raise UnknownBundle(f"no adapter {name!r}; there are: {', '.join(sorted(set(known))) or 'none'}")


def registry(added: Path | None = None) -> Registry:
    """The built-in bundles and those in the folder ``added``."""
    return Registry(folders=(BUILT_IN,) if added is None else (BUILT_IN, added))


def add(folder: Path, into: Path, seconds: float = _PROBE_SECONDS) -> Bundle:
    """Check a foreign bundle by running it in a child with limits, then copy it into ``into`` in one step.

    Only what the manifest names is copied. Raises RefusedBundle or BrokenManifest.
    """
    bundle = read_bundle(folder)
    name = bundle.manifest.name
    if (BUILT_IN / name).exists() or (into / name).exists():
        raise RefusedBundle(f"an adapter {name!r} is there already; give the bundle another name")
    into.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".adding-", dir=into))
    try:
        (staging / "manifest.json").write_bytes((folder / "manifest.json").read_bytes())
        for key, model in bundle.manifest.models.items():
            (staging / model.file).write_bytes(bundle.models[key])
        _probe(staging, seconds)
        staging.rename(into / name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return read_bundle(into / name)


def _probe(folder: Path, seconds: float) -> None:
    """Run the bundle on a small volume in a child that has no environment of ours; raises RefusedBundle."""
    command: Sequence[str] = (sys.executable, "-m", "ai_adapters.probe", str(folder.resolve()))
    home = str(Path(__file__).resolve().parents[1])
    environment = {"PYTHONPATH": home, "PATH": os.defpath, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryFile() as answer:
        try:
            child = subprocess.run(
                command, cwd=empty, env=environment, stdin=subprocess.DEVNULL, stdout=answer, stderr=subprocess.DEVNULL,
                timeout=seconds, check=False, close_fds=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise RefusedBundle(f"the model did not answer within {seconds:g} s") from None
        answer.seek(0)
        text = answer.read(4096)
    if child.returncode < 0:
        raise RefusedBundle(f"the model's process ended by signal {-child.returncode} (memory or time limit)")
    try:
        reason = str(json.loads(text)["reason"])[:500]
    except (ValueError, KeyError, TypeError):
        reason = f"the model's process ended with {child.returncode} and no reason"
    if child.returncode != 0:
        raise RefusedBundle(reason)
