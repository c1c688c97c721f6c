"""Files on their way in: each is looked at, what is an instance goes through the one door, and each has its outcome.

A batch of files is one session of ``Ingest``: one fsync and one transaction. What became of each file is remembered,
so that the next run passes over it at the speed of a look-up. No file stops the others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from server.errors import BadInstance
from server.imaging import attributes as read
from server.imaging import guard
from server.imaging.dicomdir import SOP_CLASS as DIRECTORY
from server.imaging.guard import GuardLimits
from server.imaging.import_source import Reader, Source
from server.imaging.ingest import Ingest, Session
from server.imaging.outcome import Outcome, Refused
from server.imaging.part10 import EXPLICIT_LITTLE, IMPLICIT_LITTLE, write_meta
from server.security.access import Access
from server.store import imports
from server.store.database import Database
from server.store.imports import SeenFile

#: Where the magic word of a DICOM file ends (PS3.10 7.1).
_MAGIC_END = 132
#: Bytes of a DICOMDIR, or of a data set without file meta information.
_HELD = 256 << 20
#: A DICOMDIR names its SOP class in its first bytes.
_HEAD = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """What became of one file."""

    source: Source
    #: stored, already, refused, other (no DICOM instance) or directory.
    outcome: str
    instance: str = ""
    #: Why it was refused.
    refused: Refused | None = None
    #: Files that a DICOMDIR names and that are not there.
    missing: tuple[str, ...] = field(default=())


class Importer:
    """Takes files in."""

    def __init__(self, database: Database, ingest: Ingest, limits: GuardLimits) -> None:
        self._database = database
        self._ingest = ingest
        self._limits = limits
        self._reader = Reader(limits.instance_bytes, limits.inflate_ratio)

    def unsettled(self, access: Access, sources: Sequence[Source]) -> list[Source]:
        """Those that an earlier import did not settle."""
        with self._database.reading() as uow:
            settled = imports.settled(uow, access.tenant, [(s.key, s.size, s.modified) for s in sources])
        return [source for source in sources if source.key not in settled]

    def take(self, access: Access, sources: Sequence[Source]) -> list[Imported]:
        """Looks at a batch of files, stores the instances among them, and remembers the outcome of each.

        Raises Unavailable when disk or database don't confirm: then nothing of the batch counts.
        """
        ended: list[Imported] = []
        with self._ingest.session(access) as session:
            for source in sources:
                ended.append(self._look(session, source))
            outcome = session.finish()
        done = _settle(ended, outcome)
        with self._database.unit_of_work() as uow:
            imports.note(uow, access.tenant, [_seen(one) for one in done])
        return done

    def _look(self, session: Session, source: Source) -> Imported:
        """One file; whatever is wrong with it becomes its outcome."""
        try:
            chunks = self._reader.chunks(source)
            head = next(chunks, b"")
            if DIRECTORY.encode("ascii") in head[:_HEAD] and head[128:_MAGIC_END] == b"DICM":
                return self._directory(source, _whole(source, chain([head], chunks)))
            if head[128:_MAGIC_END] == b"DICM":
                return _pass_on(session, source, chain([head], chunks))
            bare = _syntax_of_bare(head)
            if bare:
                return _pass_on(session, source, self._with_meta(_whole(source, chain([head], chunks)), bare))
            return Imported(source=source, outcome="other")
        except BadInstance as error:
            return _refused(source, error.details, error.reason, error.issues[0].expression)
        except OSError as error:
            return _refused(source, f"It can't be read: {error.strerror or type(error).__name__}.", 0xC000)

    def _directory(self, source: Source, file: bytes) -> Imported:
        """A DICOMDIR: every file is looked at anyway; what it names and is not there is told."""
        _meta, _reader, attributes = guard.read(file, 0, len(file), self._limits)
        named = [
            tuple(str(part) for part in read.values(record, "00041500"))
            for record in read.items(attributes, "00041220")
        ]
        folder = Path(source.path).parent
        there = _Folders()
        missing = tuple("/".join(path) for path in named if path and not source.member and not there.has(folder, path))
        return Imported(source=source, outcome="directory", missing=missing)

    def _with_meta(self, data: bytes, syntax: str) -> Iterator[bytes]:
        """A data set without preamble and file meta information, as old archives have it, with both."""
        blank = write_meta(sop_class="", sop_instance="", transfer_syntax=syntax)
        whole = blank + data
        _meta, _reader, attributes = guard.read(whole, 0, len(whole), self._limits)
        yield write_meta(
            sop_class=read.text(attributes, "00080016"),
            sop_instance=read.text(attributes, "00080018"),
            transfer_syntax=syntax,
        )
        yield data


class _Folders:
    """Names in folders, without regard to case: media come with names of either."""

    def __init__(self) -> None:
        self._names: dict[Path, dict[str, str]] = {}

    def has(self, folder: Path, path: Sequence[str]) -> bool:
        for part in path:
            if folder not in self._names:
                self._names[folder] = (
                    {one.name.upper(): one.name for one in folder.iterdir()} if folder.is_dir() else {}
                )
            name = self._names[folder].get(part.upper())
            if name is None:
                return False
            folder = folder / name
        return True


def _pass_on(session: Session, source: Source, chunks: Iterator[bytes]) -> Imported:
    session.begin()
    try:
        for chunk in chunks:
            session.data(chunk)
    except (BadInstance, OSError):
        # What came of it is not kept.
        session.abandon()
        raise
    ended = session.end()
    if isinstance(ended, Refused):
        return Imported(source=source, outcome="refused", refused=ended)
    return Imported(source=source, outcome="stored", instance=ended.sop_instance)


def _whole(source: Source, chunks: Iterator[bytes]) -> bytes:
    """What must be held in memory at once; raises BadInstance where that is too much."""
    if source.size > _HELD:
        raise BadInstance(f"Only up to {_HELD >> 20} MiB are taken without file meta information.", reason=0xA700)
    return b"".join(chunks)


def _refused(source: Source, details: str, reason: int, expression: str = "") -> Imported:
    told = Refused(sop_class="", sop_instance="", reason=reason, details=details, expression=expression)
    return Imported(source=source, outcome="refused", refused=told)


def _syntax_of_bare(head: bytes) -> str:
    """The transfer syntax of a data set that starts without a preamble, by its first element; empty if it is none."""
    if len(head) < 8 or head[:2] != b"\x08\x00" or head[3] != 0:
        return ""
    return EXPLICIT_LITTLE if head[4:6].isalpha() and head[4:6].isupper() else IMPLICIT_LITTLE


def _settle(ended: Sequence[Imported], outcome: Outcome) -> list[Imported]:
    """What the transaction said of each; of files with one UID the first is the one that was stored."""
    stored = {one.sop_instance for one in outcome.stored}
    # Told one by one as the files were read; the others were refused by the transaction.
    told = {id(one.refused) for one in ended if one.refused is not None}
    refused = {one.sop_instance: one for one in outcome.refused if one.sop_instance and id(one) not in told}
    done = []
    for one in ended:
        uid = one.instance
        if one.outcome != "stored":
            done.append(one)
        elif uid in stored:
            stored.discard(uid)
            done.append(one)
        elif uid in refused:
            done.append(Imported(source=one.source, outcome="refused", instance=uid, refused=refused[uid]))
        else:
            done.append(Imported(source=one.source, outcome="already", instance=uid))
    return done


def _seen(one: Imported) -> SeenFile:
    return SeenFile(
        path=one.source.key,
        size=one.source.size,
        modified=one.source.modified,
        outcome=one.outcome,
        instance=one.instance,
        details=one.refused.details if one.refused else "",
    )
