"""Transaction bundles and copies of them in which every id is a fresh one."""

import json
import re
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.fhir.wire import Failed

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Template:
    """A bundle's text, cut at its UUIDs: fullUrls, references and identifiers are such in Synthea's bundles."""

    def __init__(self, text: str) -> None:
        self._pieces: list[str] = []
        self._places: list[int] = []
        known: dict[str, int] = {}
        end = 0
        for found in _UUID.finditer(text):
            self._pieces.append(text[end : found.start()])
            self._places.append(known.setdefault(found[0], len(known)))
            end = found.end()
        self._rest = text[end:]
        self._ids = len(known)
        bundle = json.loads(text)
        #: Entries of the bundle.
        self.entries = len(bundle["entry"])
        #: Its Patient, without what the server sets.
        self.patient: dict[str, Any] = next(
            entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == "Patient"
        )

    def copy(self) -> bytes:
        """The bundle with fresh ids."""
        ids = [str(uuid.uuid4()) for _ in range(self._ids)]
        parts: list[str] = []
        for piece, place in zip(self._pieces, self._places, strict=True):
            parts += (piece, ids[place])
        return "".join((*parts, self._rest)).encode()


def templates(source: Path) -> list[Template]:
    """The transaction bundles of a folder of JSON files, or of a tar archive of one, sorted by name."""
    found = [Template(text) for _, text in sorted(_texts(source)) if '"transaction"' in text]
    if not found:
        raise Failed(f"There is no transaction bundle in {source}.")
    return found


def _texts(source: Path) -> Iterator[tuple[str, str]]:
    if source.is_dir():
        for path in source.rglob("*.json"):
            yield path.name, path.read_text(encoding="utf-8")
        return
    with tarfile.open(source) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name.endswith(".json") else None
            if file is not None:
                yield member.name, file.read().decode()
