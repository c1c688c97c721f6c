"""Reads everything that is stored and compares it with its digest: what is wrong is named, with the cure.

Packs are read one after the other, each in the order of its bytes. A pack found whole is noted with the time, so that
a run that was stopped goes on where it was. Nothing is changed otherwise.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby, islice

from server.errors import NotFound
from server.imaging import digests
from server.imaging.compact import YOUNG
from server.imaging.throttle import Throttle
from server.store import keeping
from server.store.database import Database
from server.store.keeping import Stored
from server.store.pack_files import PackFiles
from server.store.packs import Packs

_LOOKED_UP_TOGETHER = 1000
_CURES = {
    "missing": "Put the pack back from a backup; else delete the instance and let its source send it again.",
    "cut off": "Put the pack back from a backup; else delete the instance and let its source send it again.",
    "changed": "Check the disk; put the pack back from a backup, or delete the instance and send it again.",
    "orphan": "Run `hutong gc`: no instance is in this file.",
    "counts": "Run `hutong verify --repair`: it counts again.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong."""

    #: missing (the pack), cut off, changed (the digest), orphan (a file without rows) or counts.
    kind: str
    tenant: int
    pack: str = ""
    #: SOP Instance UID; of ``counts`` the Study Instance UID.
    uid: str = ""
    cure: str = ""


@dataclass(kw_only=True, slots=True)
class Verified:
    """What one run saw."""

    packs: int = 0
    instances: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)


class Verifier:
    """Checks what is stored."""

    def __init__(
        self, database: Database, packs: Packs, files: PackFiles, *, grace: float, throttle: Throttle | None = None
    ) -> None:
        """``grace``: seconds for which a file without a row is taken for one that is being written."""
        self._database = database
        self._packs = packs
        self._files = files
        self._grace = grace
        self._throttle = throttle or Throttle(0)

    def run(
        self, *, since: float | None = None, tell: Callable[[int, int], None] = lambda _done, _all: None
    ) -> Verified:
        """Checks every pack, or those not verified within ``since`` seconds; ``tell`` gets bytes done and to do."""
        seen = Verified()
        with self._database.reading() as uow:
            due = keeping.to_verify(uow, since)
        whole = sum(alive for _tenant, _pack, alive in due)
        for tenant, pack, _alive in due:
            before = len(seen.problems)
            for one in self._contents(tenant, pack):
                problem = self._check(tenant, pack, one)
                if problem:
                    seen.problems.append(_problem(problem, tenant, pack, one.instance))
                seen.instances += 1
                seen.bytes += one.length
                tell(seen.bytes, whole)
            seen.packs += 1
            if len(seen.problems) == before:
                with self._database.unit_of_work() as uow:
                    keeping.note_verified(uow, tenant, pack)
        seen.problems += self._orphans()
        seen.problems += self._miscounted()
        return seen

    def _contents(self, tenant: int, pack: str) -> list[Stored]:
        with self._database.reading() as uow:
            return keeping.contents(uow, tenant, pack)

    def _check(self, tenant: int, pack: str, one: Stored) -> str:
        """What is wrong with one instance; empty for nothing. Looks twice: it may have moved since."""
        found = self._read(tenant, pack, one)
        if found and not self._still_there(tenant, pack, one):
            return ""
        return found

    def _read(self, tenant: int, pack: str, one: Stored) -> str:
        size = self._files.size(tenant, pack)
        if size is None:
            return "missing"
        if size < one.offset + one.length:
            return "cut off"
        digest = digests.like(one.digest)
        try:
            for chunk in self._packs.stream(tenant, pack, one.offset, one.length):
                digest.update(chunk)
                self._throttle.pass_on(len(chunk))
        except NotFound:
            return "missing"
        return "" if digest.digest() == one.digest else "changed"

    def _still_there(self, tenant: int, pack: str, one: Stored) -> bool:
        """Whether the row still says so: it may have been deleted, or copied elsewhere and the old file removed."""
        return one in self._contents(tenant, pack)

    def _orphans(self) -> Iterator[Problem]:
        old = (file for file in self._files.all() if file.age > max(self._grace, YOUNG))
        for tenant, group in groupby(old, key=lambda file: file.tenant):
            while chunk := [file.pack for file in islice(group, _LOOKED_UP_TOGETHER)]:
                with self._database.reading() as uow:
                    known = keeping.known(uow, tenant, chunk)
                for pack in chunk:
                    if pack not in known and self._files.is_final(tenant, pack):
                        yield _problem("orphan", tenant, pack)

    def _miscounted(self) -> Iterator[Problem]:
        with self._database.reading() as uow:
            for tenant, study in keeping.miscounted(uow):
                yield _problem("counts", tenant, "", study)

    def recount(self) -> int:
        """Counts the studies again whose counts are not those of their instances; how many."""
        with self._database.reading() as uow:
            wrong = keeping.miscounted(uow)
        for tenant, study in wrong:
            with self._database.unit_of_work() as uow:
                keeping.count_again(uow, tenant, study)
        return len(wrong)


def _problem(kind: str, tenant: int, pack: str, uid: str = "") -> Problem:
    return Problem(kind=kind, tenant=tenant, pack=pack, uid=uid, cure=_CURES[kind])
