"""Retention: rules as data say which studies go when, and what must have happened before.

A rule names studies by QIDO-RS keys and by their age. It deletes them, or first sends them to a peer and deletes when
the peer has confirmed every instance. A locked study stays, and so does one that changed within a day.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from server.errors import BadRequest, Conflict, Gone, NotFound
from server.imaging.chosen import chosen, keys
from server.imaging.rejection import EXPIRED
from server.imaging.remove import Remover
from server.security.access import Access
from server.settings import Peer
from server.settings.archive import Retention
from server.store import expiry, forward
from server.store.database import Database

#: Studies that one search asks for.
_TOGETHER = 100
#: Behind everything that somebody waits for.
_LAST = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Expired:
    """A study whose time is over, and what is done about it."""

    tenant: int
    study: str
    rule: str
    #: delete; forward: it is on its way to the peer first; kept: it was locked or changed in this moment.
    step: str
    #: Instances that the peer has not confirmed yet.
    waiting: int = 0


class Retainer:
    """The rules, ready to run."""

    def __init__(self, database: Database, remover: Remover, rules: Sequence[Retention], peers: Sequence[Peer]) -> None:
        """Raises BadRequest that names a rule's mistake."""
        self._database = database
        self._remover = remover
        self._rules = rules
        self._peers = {peer.name: peer for peer in peers}
        for rule in rules:
            _check(rule, self._peers)

    def run(self, *, dry: bool = False) -> list[Expired]:
        """Applies every rule, the first that fits a study; ``dry`` only tells what it would do."""
        return list(self.steps(dry=dry))

    def steps(self, *, dry: bool = False) -> Iterator[Expired]:
        """The same, one study after the other."""
        with self._database.reading() as uow:
            tenants = expiry.tenants(uow) if self._rules else []
        for tenant in tenants:
            seen: set[str] = set()
            for rule in self._rules:
                for study in self._due(tenant, rule):
                    if study not in seen:
                        seen.add(study)
                        yield self._step(tenant, study, rule, dry)

    def _due(self, tenant: int, rule: Retention) -> Iterator[str]:
        last = (datetime.now(UTC) - timedelta(days=rule.days)).date()
        with self._database.reading() as uow:
            studies = iter(expiry.due(uow, tenant, by_study_date=rule.since == "study", last=last, days=rule.days))
        access = Access(who=f"retention:{rule.name}", tenant=tenant)
        wanted = keys(part for part in rule.match.split("&") if part)
        while some := list(islice(studies, _TOGETHER)):
            if wanted:
                matching = chosen(self._database, access, "study", [*wanted, ("StudyInstanceUID", ",".join(some))])
                fitting = {found[0] for found in matching}
                yield from (study for study in some if study in fitting)
            else:
                yield from some

    def _step(self, tenant: int, study: str, rule: Retention, dry: bool) -> Expired:
        waiting = self._unconfirmed(tenant, study, rule) if rule.action == "forward" else []
        step = "forward" if waiting else "delete"
        access = Access(who=f"retention:{rule.name}", tenant=tenant, scopes=frozenset({"delete"}))
        if not dry and waiting:
            with self._database.unit_of_work() as uow:
                forward.queue(
                    uow,
                    tenant,
                    peer=rule.to,
                    study=study,
                    rule=access.who,
                    instances=waiting,
                    rank=_LAST,
                )
        elif not dry:
            step = self._delete(access, study)
        return Expired(tenant=tenant, study=study, rule=rule.name, step=step, waiting=len(waiting))

    def _delete(self, access: Access, study: str) -> str:
        try:
            self._remover.remove(access, study, reason=EXPIRED)
        except (Conflict, Gone, NotFound):
            return "kept"
        return "delete"

    def _unconfirmed(self, tenant: int, study: str, rule: Retention) -> list[str]:
        with self._database.reading() as uow:
            return expiry.unconfirmed(uow, tenant, study, rule.to, committed=self._peers[rule.to].commit)


def _check(rule: Retention, peers: dict[str, Peer]) -> None:
    wrong = ""
    if rule.action not in ("delete", "forward"):
        wrong = "its action is delete or forward"
    elif rule.since not in ("study", "receipt"):
        wrong = "its days count since study or receipt"
    elif rule.days < 1:
        wrong = "it keeps at least a day"
    elif rule.action == "forward" and rule.to not in peers:
        wrong = f"it sends to '{rule.to}', which is no peer of the settings"
    if wrong:
        raise BadRequest(f"The retention rule '{rule.name}' can't be: {wrong}.", expression="retention")
    keys(part for part in rule.match.split("&") if part)
