"""Tables in files: a zip's members found by their name, lines grouped by a column without being kept in memory."""

import csv
import mmap
import re
import shutil
import tempfile
import zipfile
from array import array
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import numpy as np

from terminology.load.release import NotThisFormat

#: A zip that unpacks to more is no terminology.
_MOST_BYTES = 20 << 30


class Folder(AbstractContextManager["Folder"]):
    """The files of a zip, of a folder or of one file, unpacked one by one as they are asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._zip = zipfile.ZipFile(path) if zipfile.is_zipfile(path) else None
        self._open: list[Grouped] = []
        self._unpacked = tempfile.TemporaryDirectory(prefix="hutong-terminology-")
        if self._zip is not None:
            self.names = [one.filename for one in self._zip.infolist() if not one.is_dir()]
            if sum(one.file_size for one in self._zip.infolist()) > _MOST_BYTES:
                raise NotThisFormat(f"The zip unpacks to more than {_MOST_BYTES >> 30} GiB.")
        elif path.is_dir():
            self.names = sorted(str(one.relative_to(path)) for one in path.rglob("*") if one.is_file())
        else:
            self.names = [path.name]

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for one in self._open:
            one.close()
        self._unpacked.cleanup()
        if self._zip is not None:
            self._zip.close()

    def every(self, pattern: str) -> list[str]:
        """The names that a pattern is found in, whatever their case."""
        return [name for name in self.names if re.search(pattern, name, re.IGNORECASE)]

    def find(self, pattern: str) -> str | None:
        """The first of them."""
        return next(iter(self.every(pattern)), None)

    def path(self, name: str) -> Path:
        """Where a file is, unpacked."""
        if self._zip is None:
            return self._path / name if self._path.is_dir() else self._path
        target = Path(self._unpacked.name) / f"{self.names.index(name)}"
        if not target.exists():
            with self._zip.open(name) as source, target.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
        return target

    def grouped(self, name: str, column: str) -> "Grouped":
        """The lines of a tab-separated file by a column of numbers, until the folder is left."""
        found = Grouped(self.path(name), column)
        self._open.append(found)
        return found

    def rows(self, name: str) -> Iterator[dict[str, str]]:
        """The rows of a comma-separated file by its heading."""
        with self.path(name).open(encoding="utf-8-sig", newline="") as lines:
            yield from csv.DictReader(lines)


class Grouped:
    """The lines of a tab-separated file by a column of numbers; what is kept are numbers, not lines."""

    def __init__(self, path: Path, column: str) -> None:
        self._file = path.open("rb")
        heading = self._file.readline().decode("utf-8-sig").rstrip("\r\n").split("\t")
        self.columns = {name: place for place, name in enumerate(heading)}
        if column not in self.columns:
            raise NotThisFormat(f"{path.name} has no column {column}.")
        place = self.columns[column]
        # A file with its heading alone is not empty, so that it can be mapped.
        self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        keys, starts = array("q"), array("q")
        at = self._file.tell()
        for line in iter(self._file.readline, b""):
            cells = line.split(b"\t", place + 1)
            if len(cells) > place:
                keys.append(int(cells[place]))
                starts.append(at)
            at += len(line)
        numbers = np.frombuffer(keys, dtype=np.int64) if keys else np.zeros(0, dtype=np.int64)
        order = np.argsort(numbers, kind="stable")
        self._keys = numbers[order]
        self._starts = np.frombuffer(starts, dtype=np.int64)[order] if keys else numbers

    def close(self) -> None:
        """Lets the file go."""
        self._map.close()
        self._file.close()

    def lines(self, key: int) -> Iterator[list[str]]:
        """The lines of one number, in the order of the file."""
        first, last = np.searchsorted(self._keys, [key, key + 1])
        for start in self._starts[first:last]:
            yield self._line(int(start))

    def every(self) -> Iterator[list[str]]:
        """All lines, in the order of the numbers."""
        for start in self._starts:
            yield self._line(int(start))

    def _line(self, start: int) -> list[str]:
        end = self._map.find(b"\n", start)
        return self._map[start : end if end >= 0 else len(self._map)].decode("utf-8").rstrip("\r").split("\t")
