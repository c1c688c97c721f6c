"""Store-and-forward: rules decide what is queued for whom, when a study has become quiet or as instances arrive.

What came from a peer never goes back to it. What was fetched from a peer goes to nobody, unless a rule names it as
sender.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import orjson

from server.errors import BadRequest
from server.imaging import attributes as read
from server.imaging.dataset import Attributes
from server.imaging.imaging_study import is_result
from server.settings import Forward, Peer
from server.store import fetches
from server.store import forward as store
from server.store.database import Database, UnitOfWork
from server.store.forward import Candidate
from server.workflow.conditions import Test, tests

#: Who is named as the sender of what was fetched.
FETCHED = "peer:"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rule:
    """A rule made ready."""

    settings: Forward
    matches: tuple[Test, ...]
    unless: tuple[Test, ...]

    def fits(self, candidate: Candidate, attributes: Attributes) -> bool:
        rule = self.settings
        if rule.senders and candidate.sender not in rule.senders:
            return False
        if candidate.sender.startswith(FETCHED) and candidate.sender not in rule.senders:
            return False
        if rule.what != "both" and is_result(read.text(attributes, "00080060")) != (rule.what == "results"):
            return False
        if self.unless and all(test(attributes) for test in self.unless):
            return False
        return all(test(attributes) for test in self.matches)


class Forwarder:
    """The rules, ready to be asked."""

    def __init__(self, database: Database, peers: Sequence[Peer], rules: Sequence[Forward]) -> None:
        """Raises BadRequest that names a rule's mistake."""
        self._database = database
        self._peers = {peer.name: peer for peer in peers}
        self._rules: dict[str, list[_Rule]] = {}
        names = [rule.name for rule in rules]
        for rule in rules:
            if names.count(rule.name) > 1:
                raise BadRequest(
                    f"Two rules are named '{rule.name}'; the queue tells them by it.", expression="forward"
                )
            if rule.peer not in self._peers:
                raise BadRequest(
                    f"The rule '{rule.name}' sends to '{rule.peer}', which is no peer of the settings.",
                    expression="forward",
                )
            self._rules.setdefault(rule.peer, []).append(_ready(rule))
        self._has_instance_rules = any(rule.when == "instance" for rule in rules)

    def quiet(self, tenant: int, study: str) -> int:
        """Queues what the rules send of a study that is complete; gives how many instances (once for each peer)."""
        if not self._rules:
            return 0
        with self._database.unit_of_work() as uow:
            return self._ask(uow, tenant, study, at_once=False)

    def arrived(self) -> int:
        """Queues what the rules for single instances send of what came since the last look; gives how many studies."""
        with self._database.unit_of_work() as uow:
            changed = store.take_changed(uow)
            if self._has_instance_rules:
                for tenant, study in changed:
                    self._ask(uow, tenant, study, at_once=True)
        return len(changed)

    def forget(self) -> int:
        """Deletes what the queue keeps of studies that are gone; one that comes again is sent again."""
        with self._database.unit_of_work() as uow:
            return store.forget(uow)

    def _ask(self, uow: UnitOfWork, tenant: int, study: str, *, at_once: bool) -> int:
        queued = 0
        for name, rules in self._rules.items():
            chosen: dict[str, list[str]] = {}
            for candidate, rule in self._chosen(uow, tenant, study, self._peers[name], rules):
                # A rule that waits for the whole study keeps what is its own from later rules.
                if not at_once or rule.when == "instance":
                    chosen.setdefault(rule.name, []).append(candidate.instance)
            for one in rules:
                rule = one.settings
                if rule.name in chosen:
                    queued += store.queue(
                        uow, tenant, peer=name, study=study, rule=rule.name, instances=chosen[rule.name],
                        rank=rule.rank, delay=rule.delay,
                    )  # fmt: skip
        return queued

    def _chosen(
        self, uow: UnitOfWork, tenant: int, study: str, peer: Peer, rules: Sequence[_Rule]
    ) -> Iterator[tuple[Candidate, Forward]]:
        """Each instance that is new to the peer, with the first rule that sends it."""
        fetched = fetches.senders_of(uow, tenant, study)
        for stored in store.candidates(uow, tenant, study, peer.name):
            if stored.sender in senders_of(peer):
                continue
            # What a peer sent because we had asked for it came by a C-MOVE.
            origin = f"{FETCHED}{fetched[stored.sender]}" if stored.sender in fetched else stored.sender
            candidate = replace(stored, sender=origin)
            attributes: Attributes = orjson.loads(candidate.metadata)
            rule = next((rule for rule in rules if rule.fits(candidate, attributes)), None)
            if rule is not None:
                yield candidate, rule.settings


def senders_of(peer: Peer) -> frozenset[str]:
    """By what a peer is named as the sender of what it sent to us, or what we fetched from it."""
    return frozenset({f"ae:{peer.ae_title}", peer.name, f"{FETCHED}{peer.name}"})


def _ready(rule: Forward) -> _Rule:
    return _Rule(
        settings=rule,
        matches=tests(rule.match, setting="forward", rule=rule.name),
        unless=tests(rule.unless, setting="forward", rule=rule.name),
    )
