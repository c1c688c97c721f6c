"""Storage commitment as its provider (PS3.4 annex J): what is asked for is checked against what is durable."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from server.errors import Conflict, NotFound
from server.security.access import Access
from server.store import audit
from server.store import commitments as store
from server.store.commitments import Commitment, Kept
from server.store.database import Database
from server.store.packs import Packs

#: The job that tells the requester; its arguments are ``tenant`` and ``transaction``.
COMMITMENT_REPORT = "commitment-report"
#: Seconds that the association of the request has for taking the report itself.
_PATIENCE = 5.0
#: Failure Reason (0008,1197), PS3.3 C.14.1.1.
PROCESSING_FAILURE, NO_SUCH_INSTANCE, CLASS_CONFLICT = 0x0110, 0x0112, 0x0119

Reference = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What becomes of a transaction."""

    transaction: str
    #: AE title of who asked.
    requester: str
    #: (SOP Class UID, SOP Instance UID).
    committed: tuple[Reference, ...]
    #: The same with the Failure Reason behind.
    failed: tuple[tuple[str, str, int], ...]


class Commitments:
    """Takes requests and says what is kept."""

    def __init__(self, database: Database, packs: Packs) -> None:
        self._database = database
        self._packs = packs

    def request(self, access: Access, requester: str, transaction: str, references: Sequence[Reference]) -> None:
        """Notes a transaction and the job that reports it; the same again is told again.

        Raises Conflict where the transaction's UID was used for something else.
        """
        access.require("read")
        asked = Commitment(transaction=transaction, requester=requester, instances=orjson.dumps(references))
        with self._database.unit_of_work() as uow:
            if not store.add(uow, access.tenant, asked):
                known = store.get(uow, access.tenant, transaction)
                if known is None or (known.requester, known.instances) != (requester, asked.instances):
                    raise Conflict("This Transaction UID was used before for something else; make a new one.")
                store.again(uow, access.tenant, transaction)
            audit.note(uow, access.tenant, access.who, "commit", "StorageCommitment", transaction)
            uow.defer(
                COMMITMENT_REPORT,
                queue="notify",
                schedule_in={"seconds": _PATIENCE},
                lock=f"commitment/{access.tenant}/{transaction}",
                tenant=access.tenant,
                transaction=transaction,
            )

    def report(self, tenant: int, transaction: str) -> Report | None:
        """What is kept now; None where the requester knows already."""
        with self._database.reading() as uow:
            asked = store.get(uow, tenant, transaction)
            if asked is None or asked.is_reported:
                return None
            references = [(str(one), str(other)) for one, other in orjson.loads(asked.instances)]
            kept = store.kept(uow, tenant, [uid for _, uid in references])
        committed, failed = list[Reference](), list[tuple[str, str, int]]()
        sizes: dict[str, int] = {}
        for sop_class, uid in references:
            reason = self._reason(tenant, sop_class, kept.get(uid), sizes)
            if reason:
                failed.append((sop_class, uid, reason))
            else:
                committed.append((sop_class, uid))
        return Report(
            transaction=transaction, requester=asked.requester, committed=tuple(committed), failed=tuple(failed)
        )

    def reported(self, tenant: int, transaction: str) -> None:
        """Notes that the requester acknowledged the report."""
        with self._database.unit_of_work() as uow:
            store.reported(uow, tenant, transaction)

    def not_reported(self, tenant: int, transaction: str, error: str) -> None:
        """Notes why the requester could not be told."""
        with self._database.unit_of_work() as uow:
            store.not_reported(uow, tenant, transaction, error)

    def forget(self, days: int) -> int:
        """Deletes transactions that are ``days`` old; how many."""
        with self._database.unit_of_work() as uow:
            return store.forget(uow, days)

    def _reason(self, tenant: int, sop_class: str, kept: Kept | None, sizes: dict[str, int]) -> int:
        """Why an instance is not committed to; 0 where it is."""
        if kept is None:
            return NO_SUCH_INSTANCE
        if kept.sop_class != sop_class:
            return CLASS_CONFLICT
        if kept.pack not in sizes:
            sizes[kept.pack] = self._size(tenant, kept.pack)
        return 0 if sizes[kept.pack] >= kept.end else PROCESSING_FAILURE

    def _size(self, tenant: int, pack: str) -> int:
        """Bytes of a pack; 0 where it is gone."""
        try:
            file = self._packs.open(tenant, pack)
        except NotFound:
            return 0
        try:
            return os.fstat(file).st_size
        finally:
            os.close(file)
