"""Pathways: folders of FHIR artifacts under ``fhir_profiles``, applied to topic events through the repository."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Any

from server.errors import Gone, NotFound
from server.fhir import json_format
from server.repository import Repository, Transaction
from server.search import url
from server.search.find import SearchResult
from server.security.access import system
from server.workflow.plan import Pathway, TopicEvent, apply

Resource = dict[str, Any]

#: Folders of ``fhir_profiles`` that hold the standard's facts and the server's own profiles, and no pathway.
_NO_PATHWAYS = frozenset({"base", "imaging", "hl7v2"})


@lru_cache(maxsize=1)
def load() -> tuple[Pathway, ...]:
    """Every pathway that the package carries."""
    folders = [item for item in resources.files("fhir_profiles").iterdir() if item.is_dir()]
    names = sorted(item.name for item in folders if item.name not in _NO_PATHWAYS and not item.name.startswith("_"))
    return tuple(pathway for pathway in map(read, names) if pathway.plans)


def read(folder: str) -> Pathway:
    """The pathway in one folder."""
    found: dict[str, dict[str, Resource]] = {"PlanDefinition": {}, "ActivityDefinition": {}, "Measure": {}}
    for file in resources.files("fhir_profiles").joinpath(folder).iterdir():
        kind = file.name.partition("-")[0]
        if kind in found:
            definition = json.loads(file.read_text(encoding="utf-8"))
            found[kind][definition["url"]] = definition
    return Pathway(plans=found["PlanDefinition"], activities=found["ActivityDefinition"], measures=found["Measure"])


@dataclass(kw_only=True)
class RepositorySources:
    """The repository as a plan's expressions see it: each resource read once, at one moment."""

    transaction: Transaction
    _read: dict[str, Resource | None] = field(default_factory=dict)

    def resolve(self, reference: str) -> Resource | None:
        """The resource that a relative reference means; None for others and for what is gone."""
        if reference not in self._read:
            kind, _, rest = reference.partition("/")
            try:
                self._read[reference] = self.transaction.read(kind, rest.partition("/")[0]) if rest else None
            except (NotFound, Gone):
                self._read[reference] = None
        return self._read[reference]

    def search(self, query: str) -> Sequence[Resource]:
        """The first thousand resources that ``Type?parameter=value`` finds."""
        return [json_format.parse(stored.body) for stored in self._page(query, "").matches]

    def each(self, query: str) -> Iterator[Resource]:
        """Every resource that ``Type?parameter=value`` finds."""
        page = self._page(query, "")
        yield from (json_format.parse(stored.body) for stored in page.matches)
        while page.next:
            page = self._page(query, page.next)
            yield from (json_format.parse(stored.body) for stored in page.matches)

    def _page(self, query: str, cursor: str) -> SearchResult:
        kind, _, parameters = query.partition("?")
        turned = [("_page", cursor)] if cursor else []
        return self.transaction.search(kind, [*url.parameters(parameters), ("_count", "1000"), *turned])


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Answers topic events with what the pathways say."""

    repository: Repository
    pathways: tuple[Pathway, ...]

    def topics(self) -> frozenset[str]:
        """The topics that some plan answers."""
        actions = [action for pathway in self.pathways for plan in pathway.plans.values() for action in plan["action"]]
        triggers = [trigger for action in actions for trigger in action.get("trigger", ())]
        return frozenset(trigger["name"] for trigger in triggers if trigger["type"] == "named-event")

    def run(self, tenant: int, topic: str, type: str, id: str, version: int, recorded: str) -> None:
        """Applies every plan that answers the topic, in one transaction. Done again, it changes nothing."""
        with self.repository.transaction(system(tenant)) as transaction:
            focus = self.repository.version_of(transaction.uow, tenant, type, id, version)
            if focus is None:
                return
            event = TopicEvent(topic=topic, focus=focus, recorded=recorded)
            sources = RepositorySources(transaction=transaction)
            made = [
                resource
                for pathway in self.pathways
                for plan in pathway.answering(topic)
                for resource in apply(plan, event, pathway, sources)
            ]
            for resource in made:
                write(transaction, resource)


def write(transaction: Transaction, resource: Resource) -> bool:
    """Writes what a plan made, unless this very event or a later one made it before: it may have gone on since then.

    Whether it was written.
    """
    try:
        before = transaction.read(resource["resourceType"], resource["id"])
    except Gone:
        # Somebody deleted what this plan made; that decision stands.
        return False
    except NotFound:
        before = None
    if before is not None and _is_later(before["meta"].get("source", ""), resource["meta"]["source"]):
        return False
    transaction.update(resource)
    return True


def _is_later(source: str, than: str) -> bool:
    """Whether ``source`` names the same version of the same focus, or a later one: jobs may overtake each other."""
    focus, _, version = source.rpartition("/")
    other, _, earlier = than.rpartition("/")
    return focus == other and version.isdigit() and int(version) >= int(earlier)
