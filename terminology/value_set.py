"""Value sets: which codes they hold. https://hl7.org/fhir/R4/valueset.html#compositions"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any, Protocol

from terminology.code_system import CodeSystem, Header, MemoryCodeSystem
from terminology.concept import Concept
from terminology.condition import EVERY, Active, AnyCondition, Codes, Not, every, some
from terminology.errors import TerminologyError, TooManyCodes, UnknownContent
from terminology.filters import of_filter

Resource = Mapping[str, Any]
#: Codes of one answer.
MOST = 50_000
#: Beyond, a total is not counted.
MOST_COUNTED = 2_000_000
#: Value sets that take one another in.
_DEEPEST = 20


@dataclass(frozen=True, eq=False)
class Include:
    """One include or exclude of a composition, taken apart."""

    system: str = ""
    version: str = ""
    #: Code -> as it is listed; None where the codes are not listed one by one.
    listed: Mapping[str, Resource] | None = None
    condition: AnyCondition = EVERY
    value_sets: tuple[str, ...] = ()

    @cached_property
    def codes(self) -> frozenset[str]:
        """The codes that are listed."""
        return frozenset(self.listed or ())


class Definition:
    """A ValueSet resource, taken apart once."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        compose = resource.get("compose") or {}
        self.includes = tuple(map(_include, compose.get("include", ()))) if compose else tuple(_expanded(resource))
        self.excludes = tuple(map(_include, compose.get("exclude", ())))
        #: Whether inactive codes are left out.
        self.active_only = compose.get("inactive") is False
        self.url = str(resource.get("url", ""))


class Content(Protocol):
    """What is at hand."""

    def code_system(self, url: str, version: str = "") -> CodeSystem | None:
        """A code system by its canonical."""

    def value_set(self, url: str, version: str = "") -> Definition | None:
        """A value set by its canonical."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One code of a value set."""

    system: str
    version: str
    concept: Concept


@dataclass(frozen=True, kw_only=True, slots=True)
class Expansion:
    """A part of the codes of a value set."""

    members: tuple[Member, ...]
    #: Of all of them.
    total: int
    #: The code systems that were used: (canonical, version).
    used: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, eq=False)
class Part:
    """Codes of one system that a value set holds, in one go."""

    system: str
    version: str
    listed: Mapping[str, Resource] | None
    #: Codes of ``listed`` as a set.
    codes: frozenset[str]
    condition: AnyCondition
    content: Content = field(repr=False)

    @cached_property
    def known(self) -> CodeSystem | None:
        """The code system, where it is at hand."""
        return self.content.code_system(self.system, self.version)

    @property
    def required(self) -> CodeSystem:
        """The same; UnknownContent where it is not."""
        if self.known is None:
            named = f"{self.system}|{self.version}" if self.version else self.system
            raise UnknownContent(f"The code system {named} is not at hand; load it, or store it as a CodeSystem.")
        return self.known

    @property
    def whole(self) -> AnyCondition:
        """What a concept of the system has to satisfy."""
        if self.listed is None:
            return every(self.condition) if self.required else EVERY
        return every(Codes(self.codes), self.condition)

    def count(self, extra: AnyCondition) -> int:
        """How many codes there are that satisfy something more."""
        if self.listed is not None:
            return sum(1 for _ in self._listed(extra))
        return self.required.count(every(self.condition, extra), MOST_COUNTED)

    def members(self, extra: AnyCondition, offset: int, limit: int, *, full: bool) -> Iterator[Member]:
        """A part of these codes."""
        if self.listed is not None:
            found = islice(self._listed(extra), offset, offset + limit)
        else:
            condition = every(self.condition, extra)
            found = islice(self.required.select(condition, offset=offset, limit=limit, full=full), limit)
        return (self._member(concept) for concept in found)

    def member(self, code: str) -> Member | None:
        """The member that a code is."""
        if self.listed is None:
            concept = self.required.find(code)
            held = concept is not None and self.required.meets(concept.code, self.condition)
            return self._member(concept) if concept is not None and held else None
        concept = self.known.find(code) if self.known else None
        entry = self.listed.get(code) or (self.listed.get(concept.code) if concept else None)
        if entry is None or (concept is None and self._complete):
            return None
        found = as_listed(entry, concept)
        system = self.known if concept is not None and self.known else _alone(self.system, found)
        return self._member(found) if system.meets(found.code, self.condition) else None

    def _member(self, concept: Concept) -> Member:
        version = self.known.header.version if self.known else self.version
        return Member(system=self.system, version=version, concept=concept)

    @property
    def _complete(self) -> bool:
        """Whether a code that the system does not know is none."""
        return self.known is not None and self.known.header.content == "complete"

    def _listed(self, extra: AnyCondition) -> Iterator[Concept]:
        """The codes that are listed, with what is known of them, as far as they hold."""
        entries = self.listed or {}
        known = self.known.find_many(list(entries)) if self.known else {}
        merged = [as_listed(entry, known.get(code)) for code, entry in entries.items()
                  if code in known or not self._complete]  # fmt: skip
        kept = self._kept(merged, frozenset(concept.code for concept in known.values()))
        beside = MemoryCodeSystem(Header(url=self.system), merged)
        return (one for one in merged if one.code in kept and beside.meets(one.code, extra))

    def _kept(self, merged: Sequence[Concept], known: frozenset[str]) -> frozenset[str]:
        """The codes that satisfy the condition: by their system, or as far as can be told without it."""
        if self.condition == EVERY:
            return frozenset(one.code for one in merged)
        alone = MemoryCodeSystem(Header(url=self.system), (one for one in merged if one.code not in known))
        kept = {one.code for one in alone.select(self.condition, limit=MOST_COUNTED)}
        if self.known and known:
            condition = every(Codes(known), self.condition)
            kept |= {one.code for one in self.known.select(condition, limit=MOST_COUNTED)}
        return frozenset(kept)


def parts(definition: Definition, content: Content, *, depth: int = 0) -> list[Part]:
    """What a value set is made of; no code is in two of them."""
    if depth > _DEEPEST:
        raise TerminologyError("The value set takes in others more than 20 deep, or itself.")
    found: list[Part] = []
    for include in definition.includes:
        for part in _of_include(include, content, depth):
            same = [one for one in found if one.system == part.system]
            gone = [*(one.whole for one in same), *_excluded(definition, part.system, content, depth)]
            active = (Active(),) if definition.active_only else ()
            found.append(replace(part, condition=every(part.condition, *active, *map(Not, gone))))
    return found


def membership(definition: Definition, system: str, content: Content, *, depth: int = 0) -> AnyCondition:
    """What a concept of a system has to satisfy to be in a value set."""
    own = (part for part in parts(definition, content, depth=depth) if part.system == system)
    return some(*(part.whole for part in own))


def expand(
    definition: Definition,
    content: Content,
    *,
    extra: AnyCondition = EVERY,
    offset: int = 0,
    count: int | None = None,
    full: bool = False,
    without: frozenset[str] = frozenset(),
) -> Expansion:
    """A part of the codes of a value set that satisfy something more, in its order; TooManyCodes past ``MOST``."""
    wanted = [part for part in parts(definition, content) if part.system not in without]
    counts = [part.count(extra) for part in wanted]
    total = sum(counts)
    if (total - offset if count is None else min(count, total - offset)) > MOST:
        raise TooManyCodes(f"The value set has {total} codes, and one answer holds {MOST} at most.")
    left = total if count is None else count
    found: list[Member] = []
    for part, size in zip(wanted, counts, strict=True):
        if offset < size and left > 0:
            found += part.members(extra, offset, left, full=full)
            left -= min(left, size - offset)
        offset = max(0, offset - size)
    used = dict.fromkeys((part.system, part.known.header.version if part.known else part.version) for part in wanted)
    return Expansion(members=tuple(found), total=total, used=tuple(used))


def holds(definition: Definition, content: Content, system: str, code: str) -> Member | None:
    """The member of a value set that a code is; ``system`` may be empty."""
    for part in parts(definition, content):
        if system in ("", part.system):
            found = part.member(code)
            if found is not None:
                return found
    return None


def as_listed(one: Resource, known: Concept | None) -> Concept:
    """A concept that a value set lists, with what its system knows of it."""
    base = known or Concept(code=str(one["code"]))
    if one.get("inactive") is True:
        base = replace(base, properties=(*base.properties, {"code": "inactive", "valueBoolean": True}))
    designations = (*one.get("designation", ()), *base.designations)
    return replace(base, display=str(one.get("display") or base.display), designations=designations)


def _of_include(include: Include, content: Content, depth: int) -> Iterator[Part]:
    sets = [_required(canonical, content) for canonical in include.value_sets]
    if include.system:
        conditions = (membership(one, include.system, content, depth=depth + 1) for one in sets)
        condition = every(include.condition, *conditions)
        yield Part(include.system, include.version, include.listed, include.codes, condition, content)
        return
    if not sets:
        raise TerminologyError("A part of a value set names a system or value sets.")
    for part in parts(sets[0], content, depth=depth + 1):
        others = (membership(one, part.system, content, depth=depth + 1) for one in sets[1:])
        yield replace(part, condition=every(part.condition, *others))


def _excluded(definition: Definition, system: str, content: Content, depth: int) -> Iterator[AnyCondition]:
    for exclude in definition.excludes:
        if exclude.system in ("", system):
            for part in _of_include(exclude, content, depth):
                if part.system == system:
                    yield part.whole


def _required(canonical: str, content: Content) -> Definition:
    url, _, version = canonical.partition("|")
    found = content.value_set(url, version)
    if found is None:
        raise UnknownContent(f"The value set {canonical} is not at hand; store it as a ValueSet.")
    return found


def _include(part: Resource) -> Include:
    system = str(part.get("system", ""))
    conditions = (
        of_filter(str(one.get("property", "")), str(one.get("op", "")), str(one.get("value", "")), system)
        for one in part.get("filter", ())
    )
    listed = {str(one["code"]): one for one in part["concept"]} if "concept" in part else None
    return Include(
        system=system,
        version=str(part.get("version", "")),
        listed=listed,
        condition=every(*conditions),
        value_sets=tuple(map(str, part.get("valueSet", ()))),
    )


def _expanded(resource: Resource) -> Iterator[Include]:
    """The codes of an expansion that a value set carries, a part for each run of one system."""
    waiting = list(reversed((resource.get("expansion") or {}).get("contains", ())))
    run: dict[str, Resource] = {}
    place = ("", "")
    while waiting:
        one = waiting.pop()
        here = (str(one.get("system", "")), str(one.get("version", "")))
        if here != place and run:
            yield Include(system=place[0], version=place[1], listed=run)
            run = {}
        place = here
        if "code" in one and not one.get("abstract"):
            run.setdefault(str(one["code"]), one)
        waiting.extend(reversed(one.get("contains", ())))
    if run:
        yield Include(system=place[0], version=place[1], listed=run)


def _alone(system: str, concept: Concept) -> CodeSystem:
    return MemoryCodeSystem(Header(url=system), [concept])
