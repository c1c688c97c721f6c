"""UCUM as a code system: what was loaded, and every unit that its grammar makes. https://hl7.org/fhir/R4/ucum.html"""

from collections.abc import Iterator, Sequence

from server.fhir.fhirpath.ucum import canonical
from terminology.code_system import CodeSystem, Header, MemoryCodeSystem
from terminology.concept import Concept
from terminology.condition import AnyCondition
from terminology.implicit import UCUM


class UcumSystem:
    """A code system whose codes have no end: what is listed is what was loaded."""

    def __init__(self, loaded: CodeSystem | None) -> None:
        header = Header(url=UCUM, name="UCUM", value_set=f"{UCUM}/vs")
        self._loaded: CodeSystem = loaded or MemoryCodeSystem(header, ())

    @property
    def header(self) -> Header:
        """See ``CodeSystem.header``."""
        return self._loaded.header

    def find(self, code: str) -> Concept | None:
        """See ``CodeSystem.find``; a unit that is not listed is its own name."""
        found = self._loaded.find(code)
        return found or (Concept(code=code, display=code) if canonical(code) is not None else None)

    def find_many(self, codes: Sequence[str]) -> dict[str, Concept]:
        """See ``CodeSystem.find_many``."""
        found = ((code, self.find(code)) for code in codes)
        return {code: concept for code, concept in found if concept is not None}

    def children(self, code: str) -> list[str]:
        """See ``CodeSystem.children``."""
        return self._loaded.children(code)

    def subsumes(self, a: str, b: str) -> str:
        """See ``CodeSystem.subsumes``; units do not stand above each other."""
        return "equivalent" if a == b else "not-subsumed"

    def meets(self, code: str, condition: AnyCondition) -> bool:
        """See ``CodeSystem.meets``."""
        if self._loaded.find(code) is not None:
            return self._loaded.meets(code, condition)
        concept = self.find(code)
        return concept is not None and MemoryCodeSystem(self.header, [concept]).meets(code, condition)

    def count(self, condition: AnyCondition, most: int) -> int:
        """See ``CodeSystem.count``; of what is listed."""
        return self._loaded.count(condition, most)

    def select(self, condition: AnyCondition, *, offset: int = 0, limit: int, full: bool = False) -> Iterator[Concept]:
        """See ``CodeSystem.select``; of what is listed."""
        return self._loaded.select(condition, offset=offset, limit=limit, full=full)
