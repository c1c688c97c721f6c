"""What token search asks of a terminology: members of value sets, and what stands above or below a code.

https://hl7.org/fhir/R4/search.html#token (:in, :not-in, :above, :below). A few codes are listed; of more, the database
and memory ask the code system itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import ColumnElement, and_, select

from server.errors import BadRequest, TooLarge
from server.search.at_hand import AtHand
from server.store.tables.terminology import code_concept
from server.store.terminology import IndexedCodeSystem
from server.store.terminology_clause import clause, of_system
from terminology.code_system import CodeSystem
from terminology.condition import EVERY, Above, AnyCondition, Below, every, some
from terminology.errors import TerminologyError, TooManyCodes
from terminology.value_set import Definition, Part, parts

#: Codes that are listed; of more the database is asked for each row.
MOST_LISTED = 2_000
#: Codes of a system that is in memory, which can only be listed.
_MOST_IN_MEMORY = 50_000


@dataclass(frozen=True, eq=False)
class Many:
    """More codes of a system than are listed."""

    system: IndexedCodeSystem
    condition: AnyCondition

    def clause(self, column: ColumnElement[str]) -> ColumnElement[bool]:
        """That a column has one of the codes."""
        place = self.system.place
        row = code_concept.alias()
        return column.in_(select(row.c.code).where(and_(of_system(place, row), clause(self.condition, place, row))))

    def holds(self, code: str) -> bool:
        """The same, for one code in memory."""
        return self.system.meets(code, self.condition)


@dataclass(frozen=True, eq=False)
class Codes:
    """Codes by their system."""

    #: System -> codes; without codes the whole system is meant.
    listed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    many: tuple[tuple[str, Many], ...] = ()


class Terminology(Protocol):
    """What search needs of a terminology."""

    def members(self, value_set: str) -> Codes | None:
        """The codes of a value set by its canonical or literal address; None where it is not known."""

    def related(self, system: str, code: str, *, above: bool) -> Codes | None:
        """A code and all that subsume it (or that it subsumes); None where the system is not known."""


class StoredTerminology:
    """The terminology at hand, as token search asks it."""

    def __init__(self, at_hand: AtHand, local: Callable[[str, str], str | None] = lambda _, __: None) -> None:
        """``local`` tells the id in a literal address of a type on this server."""
        self._at_hand = at_hand
        self._local = local

    def members(self, value_set: str) -> Codes | None:
        """See ``Terminology.members``."""
        definition = self._definition(value_set)
        return None if definition is None else _answered(lambda: _codes(parts(definition, self._at_hand)))

    def related(self, system: str, code: str, *, above: bool) -> Codes | None:
        """See ``Terminology.related``."""
        known = self._at_hand.code_system(system)
        if known is None:
            return None
        concept = known.find(code)
        own = Codes({system: frozenset({code})})
        if concept is None:
            return own
        condition = Above(concept.code) if above else Below(concept.code)
        return _answered(lambda: _of_system(system, known, condition))

    def _definition(self, value_set: str) -> Definition | None:
        id = self._local("ValueSet", value_set)
        if id is not None:
            return self._at_hand.by_id("ValueSet", id, Definition)
        url, _, version = value_set.partition("|")
        return self._at_hand.value_set(url, version)


def _codes(found: list[Part]) -> Codes:
    """All parts of a value set: what a system has of several of them is asked for at once."""
    listed: dict[str, frozenset[str]] = {}
    many: list[tuple[str, Many]] = []
    for system in dict.fromkeys(part.system for part in found):
        own = [part for part in found if part.system == system]
        if any(part.listed is None and part.condition == EVERY for part in own):
            listed[system] = frozenset()
            continue
        codes = [member.concept.code for part in own if part.listed is not None
                 for member in part.members(EVERY, 0, _MOST_IN_MEMORY, full=False)]  # fmt: skip
        asked = [part for part in own if part.listed is None]
        more = _of_system(system, asked[0].required, some(*(part.condition for part in asked))) if asked else Codes()
        many += more.many
        if codes or more.listed.get(system):
            listed[system] = frozenset(codes) | more.listed.get(system, frozenset())
    return Codes(listed, tuple(many))


def _of_system(system: str, known: CodeSystem, condition: AnyCondition) -> Codes:
    if isinstance(known, IndexedCodeSystem) and known.count(condition, MOST_LISTED + 1) > MOST_LISTED:
        return Codes(many=((system, Many(known, every(condition))),))
    codes = frozenset(one.code for one in known.select(condition, limit=_MOST_IN_MEMORY))
    return Codes({system: codes} if codes else {})


def _answered(ask: Callable[[], Codes]) -> Codes:
    """What a terminology can't answer, as errors of the tree."""
    try:
        return ask()
    except TooManyCodes as error:
        raise TooLarge(str(error)) from error
    except TerminologyError as error:
        raise BadRequest(str(error)) from error
