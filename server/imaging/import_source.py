"""Where an import finds files: folders, single files and members of zip files; found without reading them."""

import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from server.errors import BadInstance

#: Members of one zip file; more are no honest one.
_MOST_MEMBERS = 1_000_000
#: Below this a member may be as compressible as it likes: a black image is.
_HARMLESS = 64 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One file to look at."""

    path: str
    #: The member's name where ``path`` is a zip file.
    member: str = ""
    size: int
    #: Nanoseconds since 1970; of the zip file for a member.
    modified: int

    @property
    def key(self) -> bytes:
        """What the next import knows it by: the absolute path, as the file system has it."""
        path = os.fsencode(self.path)
        return path + b"!/" + self.member.encode("utf-8", "surrogateescape") if self.member else path

    @property
    def shown(self) -> str:
        """The same for people."""
        return self.key.decode("utf-8", "replace")


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreadable:
    """Something that could not even be looked into."""

    path: str
    details: str


def find(paths: Sequence[Path]) -> Iterator[Source | Unreadable]:
    """Every file under the paths, in the order of their names; links are not followed.

    A DICOMDIR stands for its medium: the folder that it is in.
    """
    for path in paths:
        is_directory = path.name.upper() == "DICOMDIR" and path.is_file()
        yield from _walk(str((path.parent if is_directory else path).absolute()))


def _walk(top: str) -> Iterator[Source | Unreadable]:
    """Without recursion: folders may lie in folders as deep as a path is long."""
    waiting = [top]
    while waiting:
        path = waiting.pop()
        try:
            state = Path(path).stat() if path == top else Path(path).lstat()
            if stat.S_ISDIR(state.st_mode):
                with os.scandir(path) as entries:
                    inside = [entry for entry in entries if _is_walked(entry)]
                waiting += [entry.path for entry in sorted(inside, key=lambda entry: entry.name, reverse=True)]
            else:
                yield from _file(path, state)
        except OSError as error:
            yield Unreadable(path=path, details=f"It can't be read: {error.strerror}.")


def _is_walked(entry: "os.DirEntry[str]") -> bool:
    """Folders and files; no links, pipes or devices."""
    return entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)


def _file(path: str, state: os.stat_result) -> Iterator[Source | Unreadable]:
    if not stat.S_ISREG(state.st_mode):
        yield Unreadable(path=path, details="It is neither a file nor a folder.")
    elif path.lower().endswith(".zip"):
        yield from _members(path, state)
    else:
        yield Source(path=path, size=state.st_size, modified=state.st_mtime_ns)


def _members(path: str, state: os.stat_result) -> Iterator[Source | Unreadable]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        yield Unreadable(path=path, details=f"It is no sound zip file ({type(error).__name__}).")
        return
    if len(members) > _MOST_MEMBERS or sum(member.compress_size for member in members) > state.st_size:
        # Members that share their bytes are how a small file claims to be a large one.
        yield Unreadable(
            path=path, details="Its members overlap, or there are more than a million; unpack it yourself."
        )
        return
    for member in members:
        if not member.is_dir():
            yield Source(path=path, member=member.filename, size=member.file_size, modified=state.st_mtime_ns)


class Reader:
    """Opens sources; of zip files the last one stays open for its next member."""

    def __init__(self, instance_bytes: int, inflate_ratio: int) -> None:
        """Bounds of one instance, bytes, and of what a member may grow to by inflating."""
        self._instance_bytes = instance_bytes
        self._inflate_ratio = inflate_ratio
        self._archive: zipfile.ZipFile | None = None

    def chunks(self, source: Source, size: int = 4 << 20) -> Iterator[bytes]:
        """The source's bytes; raises OSError, and BadInstance for what is too large or no sound zip member."""
        if source.size > self._instance_bytes:
            raise BadInstance(
                f"The file is larger than {self._instance_bytes} bytes (max_instance_bytes).", reason=0xA700
            )
        if source.member:
            yield from self._member(source, size)
            return
        with Path(source.path).open("rb", buffering=0) as file:
            left = source.size
            # Never more than there is: a buffer that is much too large costs more than the reading.
            while left > 0 and (chunk := file.read(min(size, left))):
                left -= len(chunk)
                yield chunk

    def close(self) -> None:
        """Closes the zip file that is open."""
        if self._archive is not None:
            self._archive.close()
            self._archive = None

    def _member(self, source: Source, size: int) -> Iterator[bytes]:
        try:
            archive = self._open(source.path)
            found = archive.getinfo(source.member)
            if found.flag_bits & 1:
                raise BadInstance("It is encrypted; unpack the zip file yourself.")
            if found.file_size > max(_HARMLESS, found.compress_size * self._inflate_ratio):
                raise BadInstance(
                    f"It inflates more than {self._inflate_ratio} times (max_inflate_ratio).", reason=0xA700
                )
            with archive.open(found) as member:
                while chunk := member.read(size):
                    yield chunk
        except (zipfile.BadZipFile, EOFError, KeyError, ValueError, RuntimeError, zlib.error, lzma.LZMAError) as error:
            raise BadInstance(f"The zip file can't be read here ({type(error).__name__}).") from error

    def _open(self, path: str) -> zipfile.ZipFile:
        if self._archive is None or self._archive.filename != path:
            self.close()
            self._archive = zipfile.ZipFile(path)
        return self._archive
