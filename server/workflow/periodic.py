"""What plans do by the clock: time that passes writes nothing, so nothing else would tell them.

An action with a trigger of type ``periodic`` (https://hl7.org/fhir/R4/metadatatypes.html#TriggerDefinition) is carried
out once in each period of its timing, for each resource in the numerator of the Measure that it names, of all days
up to yesterday. It is carried out again for the same resource in each period: what it makes and when it makes
nothing is the plan's to say. What can't be looked at, or can't be written, is logged and waits for the next period: one
tenant's resource must not keep the clock from all others.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from server.errors import Gone, HutongError, NotFound
from server.fhir import instants
from server.repository import Repository
from server.security.access import system
from server.store import index_rows
from server.workflow.measure import NUMERATOR, Asked, evaluate
from server.workflow.pathway import RepositorySources, write
from server.workflow.plan import Pathway, TopicEvent, carry_out

Resource = dict[str, Any]
_log = logging.getLogger(__name__)

#: Ours: the canonical of the Measure for whose numerator an action is carried out.
NUMERATOR_OF = "https://hutong.example/fhir/StructureDefinition/action-for-numerator"
#: Seconds of Timing.repeat.periodUnit, https://hl7.org/fhir/R4/valueset-units-of-time.html; months and years are civil.
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "wk": 7 * 86_400}
#: Before any resource was written: the first day that FHIR's date can say.
_FIRST_DAY = "0001-01-01"


@dataclass(frozen=True, kw_only=True)
class Periodic:
    """One action that the clock wakes."""

    pathway: Pathway
    plan: Resource
    action: Resource
    measure: Resource
    seconds: float


def periodic(pathways: Iterable[Pathway]) -> Iterator[Periodic]:
    """Every such action; ValueError for one whose period or measure can't be told."""
    for pathway in pathways:
        for plan in pathway.plans.values():
            for action in plan.get("action", ()):
                for trigger in action.get("trigger", ()):
                    if trigger["type"] == "periodic":
                        yield _periodic(pathway, plan, action, trigger)


def _periodic(pathway: Pathway, plan: Resource, action: Resource, trigger: Resource) -> Periodic:
    repeat = trigger.get("timingTiming", {}).get("repeat", {})
    unit = _UNITS.get(repeat.get("periodUnit", ""))
    named = [one["valueCanonical"] for one in action.get("extension", ()) if one.get("url") == NUMERATOR_OF]
    measure = pathway.measure(named[0]) if named else None
    if unit is None or not repeat.get("period") or measure is None:
        raise ValueError(
            f"{plan['url']}: a periodic action has a period of s to wk, and names a Measure of its pathway"
        )
    return Periodic(
        pathway=pathway,
        plan=plan,
        action=action,
        measure=measure,
        seconds=float(repeat["period"]) * unit / int(repeat.get("frequency", 1)),
    )


@dataclass(kw_only=True)
class Timekeeper:
    """Carries out what the clock asks for; first when it starts, since nobody knows when it last was."""

    repository: Repository
    pathways: tuple[Pathway, ...]
    clock: Callable[[], float] = time.monotonic
    _last: dict[tuple[str, str], float] = field(default_factory=dict)

    def run(self) -> int:
        """Carries out what is due, for all tenants; gives how many resources were written."""
        written = 0
        for one in periodic(self.pathways):
            key, now = (one.plan["url"], one.action["id"]), self.clock()
            if key not in self._last or now - self._last[key] >= one.seconds:
                self._last[key] = now
                written += sum(self._answer(tenant, one) for tenant in self._tenants())
        return written

    def _tenants(self) -> list[int]:
        with self.repository.database.reading() as uow:
            return index_rows.tenants(uow)

    def _answer(self, tenant: int, one: Periodic) -> int:
        """Carries out one action for one tenant; gives how many resources were written."""
        written = 0
        try:
            recorded, found = self._numerator(tenant, one)
        except HutongError as error:
            _log.error("%s is not evaluated for tenant %s: %s", one.measure["url"], tenant, error.details)
            return 0
        for reference in found:
            try:
                written += self._carry_out(tenant, one, reference, recorded)
            except HutongError as error:
                _log.error("%s is not carried out for %s: %s", one.plan["url"], reference, error.details)
        return written

    def _numerator(self, tenant: int, one: Periodic) -> tuple[str, list[str]]:
        """The moment of the look, and the resources that the action is to be carried out for."""
        with self.repository.reading(system(tenant)) as transaction:
            recorded = instants.text(transaction.moment)
            yesterday = (transaction.moment - timedelta(days=1)).date().isoformat()
            sources = RepositorySources(transaction=transaction)
            asked = Asked(start=_FIRST_DAY, end=yesterday, recorded=recorded)
            groups = evaluate(one.measure, asked, sources, sources.each)
        members = (reference for group in groups for reference in group.members.get(NUMERATOR, ()))
        return recorded, list(dict.fromkeys(members))

    def _carry_out(self, tenant: int, one: Periodic, reference: str, recorded: str) -> int:
        """One resource in a transaction of its own; whoever else keeps time waits for it, and finds what was made."""
        kind, _, id = reference.partition("/")
        with self.repository.transaction(system(tenant)) as transaction:
            transaction.uow.lock("periodic", tenant, reference)
            try:
                focus = transaction.read(kind, id)
            except (NotFound, Gone):
                return 0
            event = TopicEvent(topic="", focus=focus, recorded=recorded)
            sources = RepositorySources(transaction=transaction)
            made = carry_out(one.plan, [one.action], event, one.pathway, sources)
            return sum(write(transaction, resource) for resource in made)
