"""Store-and-forward: rules decide what is queued for whom, when a study has become quiet or as instances arrive.

What came from a peer never goes back to it. What was fetched from a peer goes to nobody, unless a rule names it as
sender.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword

from server.errors import BadRequest
from server.imaging import attributes as read
from server.imaging import criterion
from server.imaging.dataset import Attributes
from server.imaging.imaging_study import is_result
from server.settings import Forward, Peer
from server.store import forward as store
from server.store.database import Database, UnitOfWork
from server.store.forward import Candidate

#: Who is named as the sender of what was fetched.
FETCHED = "peer:"
#: Attributes that only queries answer with; no instance has them.
_NEVER = ("ModalitiesInStudy", "SOPClassesInStudy", "NumberOf")
Test = Callable[[Attributes], bool]


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
        for rule in rules:
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
        for candidate in store.candidates(uow, tenant, study, peer.name):
            if candidate.sender in senders_of(peer):
                continue
            attributes: Attributes = orjson.loads(candidate.metadata)
            rule = next((rule for rule in rules if rule.fits(candidate, attributes)), None)
            if rule is not None:
                yield candidate, rule.settings


def senders_of(peer: Peer) -> frozenset[str]:
    """By what a peer is named as the sender of what it sent to us, or what we fetched from it."""
    return frozenset({f"ae:{peer.ae_title}", peer.name, f"{FETCHED}{peer.name}"})


def _ready(rule: Forward) -> _Rule:
    return _Rule(settings=rule, matches=_tests(rule, rule.match), unless=_tests(rule, rule.unless))


def _tests(rule: Forward, wanted: Mapping[str, Any]) -> tuple[Test, ...]:
    return tuple(_test(rule, name, value) for name, value in wanted.items())


def _test(rule: Forward, name: str, value: Any) -> Test:
    """A condition on one attribute; several values are alternatives."""
    path = [_tag(rule, step) for step in name.split(".")]
    vr = dictionary_VR(int(path[-1], 16)) if dictionary_has_tag(int(path[-1], 16)) else "LO"
    vr = vr.split(" ")[0]
    texts = [str(one) for one in (value if isinstance(value, list | tuple) else [value])]
    if vr not in criterion.SEARCHABLE:
        raise _wrong(rule, f"{name} can't be matched: it is {vr}")
    parsed = [criterion.parse(vr, text, f"forward.{rule.name}.{name}") for text in texts]
    asked = [one for one in parsed if one is not None]

    def test(attributes: Attributes) -> bool:
        found = list(_elements(attributes, path))
        if not asked:
            return bool(found)
        return any(criterion.matches(one, vr, values) for one in asked for values in found)

    return test


def _elements(attributes: Attributes, path: Sequence[str]) -> Iterator[list[Any]]:
    """The values of every element at the path, through all items of the sequences on it."""
    tag, *rest = path
    if not rest:
        if values := read.values(attributes, tag):
            yield values
        return
    for item in read.items(attributes, tag):
        yield from _elements(item, rest)


def _tag(rule: Forward, name: str) -> str:
    if name.startswith(_NEVER):
        raise _wrong(rule, f"{name} is an answer to queries; match an attribute of instances, e.g. Modality")
    if len(name) == 8 and all(digit in "0123456789abcdefABCDEF" for digit in name):
        return name.upper()
    number = tag_for_keyword(name)
    if number is None:
        raise _wrong(rule, f"'{name}' is no attribute; give a keyword or tag of the data dictionary")
    return f"{number:08X}"


def _wrong(rule: Forward, what: str) -> BadRequest:
    return BadRequest(f"The rule '{rule.name}': {what}.", expression="forward")
