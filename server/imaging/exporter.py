"""Instances out to a medium: a folder or zip file with File IDs and a DICOMDIR (PS3.10 chapter 8, PS3.11 annex D).

Into a folder it is resumable: a list beside the files says which are whole, and an instance keeps its name from run to
run. What can't be given in the wanted transfer syntax is told, and the others go on.
"""

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from server.errors import HutongError, NotFound, Unavailable
from server.imaging import part10
from server.imaging.dataset import Attributes
from server.imaging.dicomdir import dicomdir
from server.imaging.retrieve import Retrieve
from server.security.access import Access
from server.store import audit
from server.store.database import Database
from server.store.studies import Located

#: The list of what is whole, a name that every medium takes.
LIST = "EXPORT.LST"
#: Instances whose headers are looked up together.
_TOGETHER = 500
FileId = tuple[str, ...]
#: A Part 10 file in another transfer syntax.
Transcode = Callable[[bytes, str], bytes]


@dataclass(kw_only=True, slots=True)
class Exported:
    """What one run did."""

    written: int = 0
    #: Written by an earlier run.
    already: int = 0
    bytes: int = 0
    #: SOP Instance UID and why.
    failed: list[tuple[str, str]] = field(default_factory=list)


class Target(Protocol):
    """Where files go."""

    def written(self) -> dict[str, tuple[FileId, str]]:
        """File ID and transfer syntax by SOP Instance UID of what is there already."""

    def write(self, instance: str, file_id: FileId, transfer_syntax: str, chunks: Iterable[bytes]) -> int:
        """Writes one file whole or not at all; its bytes. Raises Unavailable."""

    def finish(self, directory: bytes) -> None:
        """Writes the DICOMDIR."""


class Exporter:
    """Writes what is stored to a target."""

    def __init__(self, database: Database, retrieve: Retrieve, transcode: Transcode) -> None:
        self._database = database
        self._retrieve = retrieve
        self._transcode = transcode

    def run(
        self,
        access: Access,
        series: Sequence[tuple[str, ...]],
        target: Target,
        *,
        transfer_syntax: str = "",
        tell: Callable[[Exported], None] = lambda _done: None,
    ) -> Exported:
        """Exports the series (study and series UID of each); ``transfer_syntax`` empty for as it is stored."""
        done = Exported()
        there = target.written()
        names = _Names(file_id for file_id, _syntax in there.values())
        placed: list[tuple[Located, FileId, str]] = []
        for study, uid in series:
            for located in self._locate(access, study, uid):
                known = there.get(located.instance)
                if known is not None:
                    done.already += 1
                    placed.append((located, *known))
                else:
                    self._one(access, located, names.next(study, uid), transfer_syntax, target, done, placed)
                tell(done)
        target.finish(dicomdir(self._entries(access, placed)))
        self._note(access, {study for study, _ in series})
        return done

    def _locate(self, access: Access, study: str, series: str) -> list[Located]:
        try:
            return self._retrieve.locate(access, study, series)
        except NotFound:
            # Deleted since it was chosen.
            return []

    def _one(
        self,
        access: Access,
        located: Located,
        file_id: FileId,
        wanted: str,
        target: Target,
        done: Exported,
        placed: list[tuple[Located, FileId, str]],
    ) -> None:
        syntax = located.transfer_syntax
        try:
            chunks: Iterable[bytes] = self._retrieve.stream(access, located)
            if wanted and wanted != syntax:
                file = self._transcode(b"".join(chunks), wanted)
                syntax, chunks = part10.read_meta(file, 0, len(file)).transfer_syntax, [file]
            done.bytes += target.write(located.instance, file_id, syntax, chunks)
        except Unavailable:
            raise
        except HutongError as error:
            done.failed.append((located.instance, error.details))
            return
        done.written += 1
        placed.append((located, file_id, syntax))

    def _entries(
        self, access: Access, placed: Sequence[tuple[Located, FileId, str]]
    ) -> Iterator[tuple[FileId, Attributes]]:
        for start in range(0, len(placed), _TOGETHER):
            some = {one.instance: (file_id, syntax) for one, file_id, syntax in placed[start : start + _TOGETHER]}
            for header in self._retrieve.headers(access, [one for one, _, _ in placed[start : start + _TOGETHER]]):
                file_id, syntax = some[header["00080018"]["Value"][0]]
                yield file_id, header | {"00020010": {"vr": "UI", "Value": [syntax]}}

    def _note(self, access: Access, studies: Iterable[str]) -> None:
        with self._database.unit_of_work() as uow:
            for study in sorted(studies):
                audit.note_read(uow, access.tenant, access.who, "export", "Study", study)


class _Names:
    """File IDs: at most eight characters a component, and none twice."""

    def __init__(self, taken: Iterable[FileId]) -> None:
        self._taken = set(taken)
        self._studies: dict[str, str] = {}
        self._series: dict[tuple[str, str], str] = {}
        self._number = 0

    def next(self, study: str, series: str) -> FileId:
        """The next one for an instance of a series."""
        first = self._studies.setdefault(study, f"ST{len(self._studies) + 1:06d}")
        second = self._series.setdefault((study, series), f"SE{len(self._series) + 1:06d}")
        while True:
            self._number += 1
            file_id = ("DICOM", first, second, f"IM{self._number:06d}")
            if file_id not in self._taken:
                self._taken.add(file_id)
                return file_id


class FolderTarget:
    """A folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def written(self) -> dict[str, tuple[FileId, str]]:
        """What the list names and is there with its whole length."""
        found: dict[str, tuple[FileId, str]] = {}
        path = self._folder / LIST
        for line in path.read_text(encoding="ascii").splitlines() if path.exists() else ():
            try:
                instance, file_id, syntax, size = json.loads(line)
            except ValueError:
                # The last line of a run that was killed.
                continue
            file = self._folder.joinpath(*file_id)
            if file.is_file() and file.stat().st_size == size:
                found[instance] = (tuple(file_id), syntax)
        return found

    def write(self, instance: str, file_id: FileId, transfer_syntax: str, chunks: Iterable[bytes]) -> int:
        """Under another name first, so that what has its name is whole."""
        path = self._folder.joinpath(*file_id)
        part = path.with_suffix(".PRT")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                for chunk in chunks:
                    file.write(chunk)
                size = file.tell()
            part.rename(path)
            with (self._folder / LIST).open("a", encoding="ascii") as listed:
                listed.write(json.dumps([instance, file_id, transfer_syntax, size]) + "\n")
        except OSError as error:
            raise Unavailable(f"The medium can't be written: {error.strerror}; make room and run it again.") from error
        return size

    def finish(self, directory: bytes) -> None:
        """The DICOMDIR, replaced whole."""
        part = self._folder / "DICOMDIR.PRT"
        part.write_bytes(directory)
        part.rename(self._folder / "DICOMDIR")


class ZipTarget:
    """A zip file; a run that was stopped leaves none and starts anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Images are compressed already, or are asked for as they are.
        self._archive = zipfile.ZipFile(self._part, "w", zipfile.ZIP_STORED)

    def written(self) -> dict[str, tuple[FileId, str]]:
        """Nothing."""
        return {}

    def write(self, _instance: str, file_id: FileId, _transfer_syntax: str, chunks: Iterable[bytes]) -> int:
        """One member."""
        size = 0
        try:
            with self._archive.open(_member("/".join(file_id)), "w", force_zip64=True) as member:
                for chunk in chunks:
                    size += member.write(chunk)
        except OSError as error:
            raise Unavailable(f"The zip file can't be written: {error.strerror}; make room and repeat.") from error
        return size

    def finish(self, directory: bytes) -> None:
        """The DICOMDIR; then the file gets its name."""
        self._archive.writestr(_member("DICOMDIR"), directory)
        self._archive.close()
        self._part.rename(self._path)


def _member(name: str) -> zipfile.ZipInfo:
    """The same content is the same file: no time of writing."""
    member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    member.external_attr = 0o644 << 16
    return member
