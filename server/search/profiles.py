"""The profiles that are stored, found by canonical within one transaction.

https://hl7.org/fhir/R4/profiling.html; what was compiled is kept for as long as the tenant's definitions have the same
generation (``server.store.definition_generation``), in whatever process they are written.
"""

from collections.abc import Callable, Mapping
from typing import Any

from server.fhir.profile import DEFINING, KnownProfiles, ProfileCache
from server.search.at_hand import AtHand
from server.search.find import Search
from server.store import definition_generation
from server.store.database import UnitOfWork
from terminology.code_system import CodeSystem
from terminology.value_set import Definition


class StoredProfiles:
    """The profiles as one transaction sees them, its own writes too."""

    def __init__(
        self, cache: ProfileCache, engine: Search, uow: UnitOfWork, tenant: int, flush: Callable[[], None]
    ) -> None:
        self._cache = cache
        self._uow = uow
        self._tenant = tenant
        self._engine = engine
        self._flush = flush
        self._known: KnownProfiles | None = None
        #: Whether this transaction wrote what resources are validated by.
        self._defines = False

    def known(self) -> KnownProfiles:
        """What is known now; what is not committed yet is kept for nobody else."""
        if self._known is None:
            generation = None if self._defines else definition_generation.current(self._uow, self._tenant)
            terminology = _Written(self._engine.at_hand(self._uow, self._tenant), self._flush)
            self._known = self._cache.known(self._tenant, generation, self._fetch, terminology)
        return self._known

    def _fetch(self, canonical: str) -> Mapping[str, Any] | None:
        self._flush()
        url, _, version = canonical.partition("|")
        return self._engine.at_hand(self._uow, self._tenant).resource("StructureDefinition", url, version)

    def note(self, resource_type: str, url: str = "") -> None:
        """A resource is written; without URL it may be any. What was made of its like is found anew."""
        if resource_type in DEFINING:
            self._defines = True
            if self._known is not None and not self._known.stays_without(resource_type, url):
                self._known = None

    def finish(self) -> None:
        """Tells others that there are new definitions, when this transaction commits."""
        if self._defines:
            definition_generation.advance(self._uow, self._tenant)


class _Written:
    """The terminology at hand, what this transaction wrote just now among it; ``terminology.value_set.Content``."""

    def __init__(self, content: AtHand, flush: Callable[[], None]) -> None:
        self._content = content
        self._flush = flush

    def code_system(self, url: str, version: str = "") -> CodeSystem | None:
        """See ``AtHand.code_system``."""
        self._flush()
        return self._content.code_system(url, version)

    def value_set(self, url: str, version: str = "") -> Definition | None:
        """See ``AtHand.value_set``."""
        self._flush()
        return self._content.value_set(url, version)
