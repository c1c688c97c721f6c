"""Study locks: a locked study takes no instance and loses none, e.g. while a court or a trial asks for it."""

from server.errors import BadRequest, NotFound
from server.security.access import Access
from server.store import locks
from server.store.database import Database
from server.store.locks import StudyLock

_LONGEST_REASON = 1000


class StudyLocks:
    """Puts locks on studies and takes them off; each is audited."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lock(self, access: Access, study: str, reason: str) -> None:
        """Locks a study; raises NotFound, and BadRequest without a reason."""
        access.require("admin")
        if not reason.strip() or len(reason) > _LONGEST_REASON or "\0" in reason:
            raise BadRequest(f"Say why, in at most {_LONGEST_REASON} characters.", expression="reason")
        with self._database.unit_of_work() as uow:
            if not locks.lock(uow, access.tenant, study, who=access.who, reason=reason.strip()):
                raise NotFound("No such study is stored; only what is there can be locked.")

    def unlock(self, access: Access, study: str) -> None:
        """Takes the lock off; raises NotFound where there is none."""
        access.require("admin")
        with self._database.unit_of_work() as uow:
            if not locks.unlock(uow, access.tenant, study, who=access.who):
                raise NotFound("The study is not locked.")

    def find(self, access: Access, study: str = "") -> list[StudyLock]:
        """All locks, or that of one study."""
        access.require("read")
        with self._database.reading() as uow:
            return locks.locks(uow, access.tenant, study)
