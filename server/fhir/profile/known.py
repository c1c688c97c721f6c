"""The profiles that are known: found by canonical, compiled once, kept as long as no definition changes.

https://hl7.org/fhir/R4/references.html#canonical
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from server.errors import HutongError
from server.fhir.definitions import Definitions
from server.fhir.profile.compiled import Compiler
from server.fhir.profile.instance import Check, Elements
from server.fhir.profile.rule import STRUCTURE, Rule
from server.fhir.profile.tree import tree
from server.fhir.profile.value_sets import KeptCodes, ValueSets

#: (type, canonical with or without version) -> the resource that it means; None where there is none.
Fetch = Callable[[str, str], Mapping[str, Any] | None]
#: Canonicals come with resources, so what is known of them may not grow without end.
_MOST = 20_000
#: The types whose resources say what others have to be.
DEFINING: Final = frozenset({"StructureDefinition", "ValueSet", "CodeSystem"})


class KeptProfiles:
    """What was found and compiled, for one state of the definitions; shared by threads."""

    def __init__(self) -> None:
        self.definitions: dict[str, Mapping[str, Any] | None] = {}
        self.trees: dict[str, Rule | None] = {}
        self.checks: dict[str, Check | None] = {}
        #: Why a definition that is there can't be used.
        self.faults: dict[str, str] = {}
        self.codes = KeptCodes()
        #: (type, URL) of all that was asked for, found or not.
        self.asked: set[tuple[str, str]] = set()
        #: Held while something is added; by the thread that builds one profile out of others, again and again.
        self.lock = threading.RLock()
        self.building: set[str] = set()


class KnownProfiles:
    """What StructureDefinitions and ValueSets say, as ``instance.Profiles`` asks for it, within one transaction."""

    def __init__(self, elements: Elements, fetch: Fetch, kept: KeptProfiles | None = None) -> None:
        self.elements = elements
        self._given = fetch
        self._kept = kept or KeptProfiles()
        self._value_sets = ValueSets(self.definitions, self._fetch, self._kept.codes)

    @property
    def definitions(self) -> Definitions:
        """The edition that they are profiles of."""
        return self.elements.definitions

    def stays_without(self, resource_type: str, url: str) -> bool:
        """Whether all that is known stays so when a definition is written or deleted; without URL it may be any."""
        return bool(url) and (resource_type, url) not in self._kept.asked

    def _fetch(self, kind: str, canonical: str) -> Mapping[str, Any] | None:
        self._kept.asked.add((kind, canonical.partition("|")[0]))
        return self._given(kind, canonical)

    def definition(self, canonical: str) -> Mapping[str, Any] | None:
        """The StructureDefinition that a canonical means."""
        kept = self._kept.definitions
        try:
            return kept[canonical]
        except KeyError:
            pass
        found = self._fetch("StructureDefinition", canonical)
        if len(kept) > _MOST:
            kept.clear()
            self._kept.asked.clear()
        kept[canonical] = found
        return found

    def fault(self, canonical: str) -> str | None:
        """Why a definition that is there can't be used."""
        return self._kept.faults.get(canonical)

    def tree(self, canonical: str) -> Rule | None:
        """The elements of a profile; None where it is not known or makes no sense."""
        kept = self._kept
        if canonical in kept.trees:
            return kept.trees[canonical]
        if self.definition(canonical) is None:
            return None
        with kept.lock:
            # One that leads back to itself is taken for unknown on the way.
            if canonical in kept.building:
                return None
            kept.building.add(canonical)
            try:
                kept.trees[canonical] = self._tree(canonical)
            finally:
                kept.building.discard(canonical)
            return kept.trees[canonical]

    def _tree(self, canonical: str) -> Rule | None:
        definition = self.definition(canonical)
        if definition is None:
            return None
        try:
            return tree(definition, self.definitions, self.tree)
        except HutongError as error:
            self._kept.faults[canonical] = error.details
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            self._kept.faults[canonical] = f"the definition can't be read ({type(error).__name__})"
        return None

    def check(self, canonical: str) -> Check | None:
        """What a profile asks of a value; None where it is not known or can't be used."""
        kept = self._kept
        if canonical in kept.checks:
            return kept.checks[canonical]
        rules, definition = self.tree(canonical), self.definition(canonical)
        if rules is None or definition is None:
            return None
        url, kind = str(definition.get("url", canonical)), str(definition.get("type", ""))
        found = Compiler(rules, kind, url, self).check() or _nothing
        kept.checks[canonical] = found
        return found

    def type_of(self, canonical: str) -> str | None:
        """The type that a profile is on; of a type of the standard, its name."""
        name = canonical.removeprefix(STRUCTURE)
        if name in self.definitions.types:
            return name
        definition = self.definition(canonical)
        return None if definition is None else str(definition.get("type", ""))

    def holds(self, value_set: str, system: str | None, code: str) -> bool | None:
        """Whether a value set has a code; None where that can't be told from what is here."""
        return self._value_sets.holds(value_set, system, code)


def _nothing(_node: object, _situation: object) -> None:
    """The check of a profile that asks no more than the standard."""


class ProfileCache:
    """What each tenant's profiles were compiled to, for the newest generation of its definitions."""

    def __init__(self, definitions: Definitions) -> None:
        self._elements = Elements(definitions)
        self._kept: dict[int, tuple[int, KeptProfiles]] = {}
        self._lock = threading.Lock()

    def known(self, tenant: int, generation: int | None, fetch: Fetch) -> KnownProfiles:
        """The profiles of a generation; of none, or of one that is past, what is found is kept for nobody else."""
        return KnownProfiles(self._elements, fetch, None if generation is None else self._of(tenant, generation))

    def _of(self, tenant: int, generation: int) -> KeptProfiles | None:
        with self._lock:
            newest, kept = self._kept.get(tenant, (-1, None))
            if kept is None or generation > newest:
                kept = KeptProfiles()
                self._kept[tenant] = generation, kept
            elif generation < newest:
                return None
            return kept
