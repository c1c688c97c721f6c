"""Codes of value sets, as bindings ask for them: https://hl7.org/fhir/R4/valueset.html"""

from collections.abc import Callable, Mapping
from typing import Any

from server.fhir.definitions import Definitions
from server.fhir.fhirpath.ucum import canonical as unit
from terminology.code_system import CodeSystem, MemoryCodeSystem
from terminology.errors import TerminologyError
from terminology.value_set import Definition, holds

#: Codes are data of resources, so what is known of them may not grow without end.
_MOST_ANSWERS = 100_000
_UCUM = "http://unitsofmeasure.org"
_STANDARD = "http://hl7.org/fhir/ValueSet/"


class KeptCodes:
    """What was found out about codes, for one state of the definitions."""

    def __init__(self) -> None:
        self.systems: dict[tuple[str, str], CodeSystem | None] = {}
        self.sets: dict[tuple[str, str], Definition | None] = {}
        self.answers: dict[tuple[str, str | None, str], bool | None] = {}


class ValueSets:
    """Value sets and code systems by canonical; ``terminology.value_set.Content``."""

    def __init__(
        self, definitions: Definitions, fetch: Callable[[str, str], Mapping[str, Any] | None], kept: KeptCodes
    ) -> None:
        self._definitions = definitions
        self._fetch = fetch
        self._kept = kept

    def holds(self, value_set: str, system: str | None, code: str) -> bool | None:
        """Whether a value set has a code, of any system where that is None; None where that can't be told."""
        key = (value_set, system, code)
        answers = self._kept.answers
        try:
            return answers[key]
        except KeyError:
            pass
        known = self._answer(value_set, system, code)
        if len(answers) > _MOST_ANSWERS:
            answers.clear()
        answers[key] = known
        return known

    def code_system(self, url: str, version: str = "") -> CodeSystem | None:
        """A code system that is here whole."""
        key = (url, version)
        if key not in self._kept.systems:
            found = self._fetch("CodeSystem", f"{url}|{version}" if version else url)
            whole = found is not None and found.get("content") == "complete"
            self._kept.systems[key] = MemoryCodeSystem.of_resource(dict(found)) if whole and found is not None else None
        return self._kept.systems[key]

    def value_set(self, url: str, version: str = "") -> Definition | None:
        """A value set, stored or of the standard's tables."""
        key = (url, version)
        if key not in self._kept.sets:
            found = self._fetch("ValueSet", f"{url}|{version}" if version else url)
            resource = found if found is not None else self._listed(url)
            self._kept.sets[key] = Definition(dict(resource)) if resource is not None else None
        return self._kept.sets[key]

    def _listed(self, url: str) -> Mapping[str, Any] | None:
        codes = self._definitions.codes(url)
        if codes is None:
            return None
        parts = [
            {"system": system, "concept": [{"code": code} for code in sorted(listed)]}
            for system, listed in codes.items()
        ]
        return {"resourceType": "ValueSet", "url": url, "compose": {"include": parts}}

    def _answer(self, value_set: str, system: str | None, code: str) -> bool | None:
        url, _, version = value_set.partition("|")
        if version == self._definitions.version and url.startswith(_STANDARD):
            version = ""
        found = self.value_set(url, version)
        if found is None:
            return None
        if system == "":
            return False
        if system == _UCUM and _takes_all_units(found.resource):
            return unit(code) is not None
        try:
            return holds(found, self, system or "", code) is not None
        except TerminologyError:
            return None


def _takes_all_units(value_set: Mapping[str, Any]) -> bool:
    parts = (value_set.get("compose") or {}).get("include", ())
    return any(each.get("system") == _UCUM and "concept" not in each and "filter" not in each for each in parts)
