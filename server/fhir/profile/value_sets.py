"""Codes of value sets, as bindings ask for them: https://hl7.org/fhir/R4/valueset.html"""

from server.errors import HutongError
from server.fhir.definitions import Definitions
from terminology.code_system import CodeSystem
from terminology.errors import TerminologyError
from terminology.value_set import Content, Definition, holds

#: Codes are data of resources, so what is known of them may not grow without end.
_MOST_ANSWERS = 100_000
#: Value sets that take one another in.
_DEEPEST = 20
_STANDARD = "http://hl7.org/fhir/ValueSet/"


class KeptCodes:
    """What was found out about codes, for one state of the definitions."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str | None, str], bool | None] = {}
        #: (type, URL) of all that was asked for, found or not.
        self.asked: set[tuple[str, str]] = set()


class ValueSets:
    """Value sets over the code systems that are at hand whole; ``terminology.value_set.Content``."""

    def __init__(self, definitions: Definitions, content: Content, kept: KeptCodes) -> None:
        self._definitions = definitions
        self._content = content
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
        """A code system; a part of one can't tell what is not in it."""
        self._kept.asked.add(("CodeSystem", url))
        found = self._content.code_system(url, version)
        return found if found is not None and found.header.content == "complete" else None

    def value_set(self, url: str, version: str = "") -> Definition | None:
        """A value set."""
        self._kept.asked.add(("ValueSet", url))
        return self._content.value_set(url, version)

    def _answer(self, value_set: str, system: str | None, code: str) -> bool | None:
        url, _, version = value_set.partition("|")
        if version == self._definitions.version and url.startswith(_STANDARD):
            version = ""
        try:
            found = self.value_set(url, version)
            if found is None:
                return None
            if system == "" or (system is not None and not self._names(found, system, 0)):
                return False
            return holds(found, self, system or "", code) is not None
        except (TerminologyError, HutongError):
            return None

    def _names(self, definition: Definition, system: str, depth: int) -> bool:
        """Whether a value set may take codes from a system: what names others alone can be told without them."""
        compose = definition.resource.get("compose")
        if not compose or depth > _DEEPEST:
            return True
        for include in compose.get("include", ()):
            if "system" in include:
                if include["system"] == system:
                    return True
                continue
            for canonical in include.get("valueSet", ()):
                url, _, version = str(canonical).partition("|")
                inner = self.value_set(url, version)
                if inner is None or self._names(inner, system, depth + 1):
                    return True
        return False
