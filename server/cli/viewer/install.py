"""Brings OHIF's published build into the data folder: fetched by npm, checked, unpacked, moved under ``/viewer``."""

import base64
import gzip
import hashlib
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from server.errors import Unavailable, Unprocessable

#: The version that is tested here; its digest as the registry publishes it (dist.integrity of the package).
PACKAGE = "@ohif/app"
VERSION = "3.12.10"
INTEGRITY = "sha512-0kuF66Mq9c9dMD++bUsTjMrJpXJwaZhz9B4uS244DawAjSkTwIYFU93pxPuRUQixaRi7QAHlF3Fe1qudBlZrmA=="

#: The build asks for its parts at "/".
_PUBLIC_PATH = re.compile(r'__webpack_require__\.p = "/"')
#: The page says it; a worker has no page, but lies beside the others.
_WHERE_I_AM = '__webpack_require__.p = (self.PUBLIC_URL || new URL(".", self.location.href).href)'
_CSS_ROOT = re.compile(r"url\(/(?!/)")
#: Text that is worth sending compressed, and from what size, bytes.
_COMPRESSED = {".js", ".css", ".wasm", ".svg", ".json"}
_SMALL = 4096
_NPM_SECONDS = 600


@dataclass(frozen=True, kw_only=True, slots=True)
class Installed:
    """What was put where."""

    version: str
    folder: Path
    files: int
    bytes: int


def install(folder: Path, package: Path | None = None) -> Installed:
    """Puts the viewer into ``folder``, in place of what was there; ``package`` is a tarball that npm fetched before.

    Raises Unavailable without npm or network, Unprocessable when the package is not the one that was tested.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".viewer-") as place:
        work = Path(place)
        tarball = package or _npm_pack(work)
        _check(tarball)
        with tarfile.open(tarball) as archive:
            archive.extractall(work / "unpacked", filter="data")
        build = work / "unpacked" / "package" / "dist"
        shutil.copy(work / "unpacked" / "package" / "LICENSE", build / "LICENSE")
        _adapt(build)
        _compress(build)
        (build / "installed.json").write_text(json.dumps({"package": PACKAGE, "version": VERSION}), encoding="utf-8")
        if folder.exists():
            folder.replace(work / "before")
        build.replace(folder)
    return installed(folder)


def installed(folder: Path) -> Installed:
    """What is in the folder; raises Unavailable when nothing is."""
    note = folder / "installed.json"
    if not note.is_file():
        raise Unavailable("The viewer is not installed; run `hutong viewer install`.")
    sizes = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
    version = str(json.loads(note.read_text(encoding="utf-8"))["version"])
    return Installed(version=version, folder=folder, files=len(sizes), bytes=sum(sizes))


def _npm_pack(work: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("npm is not here; install Node.js, or fetch the package elsewhere and name it by --package.")
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", str(work)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=_NPM_SECONDS, check=False)
    tarballs = list(work.glob("*.tgz"))
    if ran.returncode or not tarballs:
        last = ran.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise Unavailable(f"npm could not fetch {PACKAGE}@{VERSION}: {last[0]}")
    return tarballs[0]


def _check(tarball: Path) -> None:
    try:
        with tarball.open("rb") as file:
            digest = hashlib.file_digest(file, "sha512").digest()
    except OSError as error:
        raise Unavailable(f"{tarball} can't be read: {error.strerror}.", expression="package") from error
    if f"sha512-{base64.b64encode(digest).decode()}" != INTEGRITY:
        raise Unprocessable(
            f"{tarball.name} is not {PACKAGE}@{VERSION} as published; fetch it by `npm pack {PACKAGE}@{VERSION}`.",
            expression="package",
        )


def _adapt(build: Path) -> None:
    """Lets the build live under any path: scripts ask where the page says, styles look beside themselves."""
    for script in build.glob("*.js"):
        text = script.read_text(encoding="utf-8")
        script.write_text(_PUBLIC_PATH.sub(_WHERE_I_AM, text), encoding="utf-8")
    for style in build.glob("*.css"):
        style.write_text(_CSS_ROOT.sub("url(", style.read_text(encoding="utf-8")), encoding="utf-8")
    icons = build / "manifest.json"
    icons.write_text(icons.read_text(encoding="utf-8").replace('"/assets/', '"assets/'), encoding="utf-8")


def _compress(build: Path) -> None:
    for file in build.rglob("*"):
        if file.suffix in _COMPRESSED and file.is_file() and file.stat().st_size >= _SMALL:
            file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes(), 6, mtime=0))
