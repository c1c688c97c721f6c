"""What token search asks of a terminology: members of value sets, and what stands above or below a code.

https://hl7.org/fhir/R4/search.html#token (:in, :not-in, :above, :below). ``StoredTerminology`` answers from the
standard's own value sets and from the ValueSet and CodeSystem resources that the server holds.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from server.errors import BadRequest, TooLarge
from server.fhir.definitions import Definitions

#: Pairs of system and code; without a code the whole system is meant.
Codes = frozenset[tuple[str, str | None]]
#: (resource type, canonical or Type/id) -> the resource; None where the server holds none.
Fetch = Callable[[str, str], Mapping[str, Any] | None]
MOST_CODES = 50_000
_DEEPEST = 20
_SUBSUMING = frozenset({"is-a", "descendent-of"})


class Terminology(Protocol):
    """What search needs of a terminology."""

    def members(self, value_set: str) -> Codes | None:
        """The codes of a value set by its canonical or literal address; None where it is not known."""

    def related(self, system: str, code: str, *, above: bool) -> Codes | None:
        """A code and all that subsume it (or that it subsumes); None where the system's hierarchy is not known."""


class StoredTerminology:
    """The standard's value sets, and the ValueSet and CodeSystem resources that the server holds."""

    def __init__(self, definitions: Definitions, fetch: Fetch) -> None:
        self._definitions = definitions
        self._fetch = fetch

    def members(self, value_set: str) -> Codes | None:
        """See ``Terminology.members``."""
        return self._members(value_set, 0)

    def related(self, system: str, code: str, *, above: bool) -> Codes | None:
        """See ``Terminology.related``."""
        parents = self._parents(system)
        if parents is None:
            return None
        found = _closure(code, parents if above else _reversed(parents))
        return frozenset((system, each) for each in found)

    def _members(self, value_set: str, depth: int) -> Codes | None:
        if depth > _DEEPEST:
            raise TooLarge(f"The value sets behind this one lead on more than {_DEEPEST} times.")
        url = value_set.partition("|")[0]
        known = self._definitions.codes(url)
        if known is not None:
            return frozenset((system, code) for system, codes in known.items() for code in codes)
        resource = self._fetch("ValueSet", value_set)
        if resource is None:
            return None
        if resource.get("expansion"):
            return frozenset(_contained(resource["expansion"].get("contains")))
        compose = resource.get("compose") or {}
        found = self._sum(compose.get("include"), depth)
        excluded = self._sum(compose.get("exclude"), depth)
        return self._without(found, excluded) if excluded else found

    def _sum(self, parts: Any, depth: int) -> Codes:
        found: set[tuple[str, str | None]] = set()
        for part in _dicts(parts):
            found |= self._part(part, depth)
            if len(found) > MOST_CODES:
                raise TooLarge(f"The value set has more than {MOST_CODES} codes.")
        return frozenset(found)

    def _part(self, part: Mapping[str, Any], depth: int) -> Codes:
        """One include or exclude: https://hl7.org/fhir/R4/valueset.html#compositions"""
        found: Codes | None = None
        if part.get("system"):
            found = self._of_system(str(part["system"]), part)
        for url in part.get("valueSet") or ():
            members = self._members(str(url), depth + 1)
            if members is None:
                raise BadRequest(f"The value set '{str(url)[:200]}', which this one is made of, is not here.")
            found = members if found is None else _both(found, members)
        return found or frozenset()

    def _of_system(self, system: str, part: Mapping[str, Any]) -> Codes:
        if part.get("concept"):
            return frozenset((system, str(one.get("code"))) for one in _dicts(part["concept"]))
        filters = list(_dicts(part.get("filter")))
        if not filters:
            return frozenset({(system, None)})
        chosen = [self._filtered(system, one) for one in filters]
        return frozenset.intersection(*chosen)

    def _filtered(self, system: str, asked: Mapping[str, Any]) -> Codes:
        if asked.get("op") not in _SUBSUMING or asked.get("property") not in ("concept", "code"):
            raise BadRequest(f"The value set's filter by '{str(asked.get('op'))[:50]}' can't be searched by here.")
        code = str(asked.get("value"))
        found = self.related(system, code, above=False)
        if found is None:
            raise BadRequest(f"The code system '{system[:200]}', which the value set is made of, is not here.")
        return found if asked["op"] == "is-a" else found - {(system, code)}

    def _without(self, found: Codes, excluded: Codes) -> Codes:
        whole = {system for system, code in found if code is None}
        gone = {system for system, code in excluded if code is None}
        listed: set[tuple[str, str | None]] = set(found)
        for system in whole & {system for system, _ in excluded} - gone:
            parents = self._parents(system)
            if parents is None:
                raise BadRequest(f"The code system '{system[:200]}', which the value set is made of, is not here.")
            listed |= {(system, code) for code in parents}
            listed.discard((system, None))
        return frozenset(pair for pair in listed if pair[0] not in gone) - excluded

    def _parents(self, system: str) -> Mapping[str, frozenset[str]] | None:
        """Code -> its parents, of a code system that the server holds whole."""
        resource = self._fetch("CodeSystem", system)
        if resource is None or not resource.get("concept"):
            return None
        found: dict[str, set[str]] = {}
        for code, parent in _hierarchy(resource["concept"], None, 0):
            found.setdefault(code, set()).update(() if parent is None else (parent,))
        return {code: frozenset(parents) for code, parents in found.items()}


def _dicts(value: Any) -> Iterator[Mapping[str, Any]]:
    return (item for item in value or () if isinstance(item, dict))


def _contained(contains: Any) -> Iterator[tuple[str, str | None]]:
    for one in _dicts(contains):
        if one.get("system") and one.get("code") and not one.get("abstract"):
            yield str(one["system"]), str(one["code"])
        yield from _contained(one.get("contains"))


def _hierarchy(concepts: Any, parent: str | None, depth: int) -> Iterator[tuple[str, str | None]]:
    """(code, parent) by nesting and by the properties ``parent`` and ``child``."""
    if depth > _DEEPEST * 5:
        return
    for concept in _dicts(concepts):
        code = str(concept.get("code"))
        yield code, parent
        for one in _dicts(concept.get("property")):
            other = one.get("valueCode")
            if one.get("code") == "parent" and other:
                yield code, str(other)
            elif one.get("code") == "child" and other:
                yield str(other), code
        yield from _hierarchy(concept.get("concept"), code, depth + 1)


def _reversed(parents: Mapping[str, Iterable[str]]) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = {}
    for code, above in parents.items():
        for parent in above:
            found.setdefault(parent, set()).add(code)
    return found


def _closure(start: str, steps: Mapping[str, Iterable[str]]) -> set[str]:
    found, fresh = {start}, [start]
    while fresh:
        further = [code for each in fresh for code in steps.get(each, ()) if code not in found]
        found.update(further)
        fresh = further
    return found


def _both(left: Codes, right: Codes) -> Codes:
    """What two sets of codes have in common, a whole system being all of its codes."""
    return frozenset(
        pair
        for one, other in ((left, right), (right, left))
        for pair in one
        if pair in other or (pair[0], None) in other
    )
