"""Value sets: what they hold, listed and asked one by one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminology import value_set
from terminology.code_system import MemoryCodeSystem
from terminology.condition import EVERY, Active, AnyCondition, Words
from terminology.errors import TerminologyError, TooManyCodes, UnknownContent
from terminology.value_set import Definition, Member, expand

LETTERS = {"url": "urn:letters", "concept": [{"code": one, "display": one.upper()} for one in "abcdef"]}
GREEK = {"url": "urn:greek", "version": "2", "concept": [{"code": "alpha", "concept": [{"code": "beta"}]}]}


class Shelf:
    """Content at hand for the tests."""

    def __init__(self, **sets: dict[str, Any]) -> None:
        self._systems = {one.header.url: one for one in map(MemoryCodeSystem.of_resource, (LETTERS, GREEK))}
        self._sets = {f"urn:{name}": Definition(found) for name, found in sets.items()}

    def code_system(self, url: str, version: str = "") -> MemoryCodeSystem | None:
        return self._systems.get(url)

    def value_set(self, url: str, version: str = "") -> Definition | None:
        return self._sets.get(url)


def members(one: dict[str, Any], shelf: Shelf) -> tuple[Member, ...]:
    return expand(Definition(one), shelf).members


def holds(one: dict[str, Any], shelf: Shelf, system: str, code: str) -> Member | None:
    return value_set.holds(Definition(one), shelf, system, code)


def composed(*include: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"compose": {"include": list(include), **more}}


def letters(codes: str) -> dict[str, Any]:
    return {"system": "urn:letters", "concept": [{"code": code} for code in codes]}


def codes(one: dict[str, Any], shelf: Shelf | None = None) -> str:
    return " ".join(member.concept.code for member in members(one, shelf or Shelf()))


def test_parts() -> None:
    shelf = Shelf(ab=composed(letters("ab")), bc=composed(letters("bc")))
    whole = {"system": "urn:letters"}
    assert codes(composed(whole)) == "a b c d e f"
    assert codes(composed(letters("ca"), {"system": "urn:greek"})) == "c a alpha beta"
    assert codes(composed({"valueSet": ["urn:ab", "urn:bc"]}), shelf) == "b"
    assert codes(composed({"valueSet": ["urn:ab"]}, {"valueSet": ["urn:bc"]}), shelf) == "a b c"
    assert codes(composed({**whole, "valueSet": ["urn:bc"]}), shelf) == "b c"
    assert codes(composed(whole, exclude=[{"valueSet": ["urn:ab"]}, letters("f")]), shelf) == "c d e"
    below = {"system": "urn:greek", "filter": [{"property": "concept", "op": "descendent-of", "value": "alpha"}]}
    assert codes(composed(below)) == "beta"


def test_what_is_listed_gets_words_and_version_from_its_system() -> None:
    listed = {"system": "urn:letters", "concept": [{"code": "a"}, {"code": "b", "display": "own"}]}
    assert [one.concept.display for one in members(composed(listed), Shelf())] == ["A", "own"]
    assert members(composed({"system": "urn:greek"}), Shelf())[0].version == "2"
    # A complete system tells which codes are none; a list needs no system.
    assert codes(composed(letters("ayz"))) == "a"
    assert codes(composed({"system": "urn:foreign", "concept": [{"code": "x"}]})) == "x"


def test_an_expansion_that_is_carried_along_counts_where_nothing_is_composed() -> None:
    inner = {"system": "urn:s", "code": "b", "inactive": True}
    one = {"expansion": {"contains": [{"system": "urn:s", "code": "a", "abstract": True, "contains": [inner]}]}}
    assert codes(one) == "b"
    found = holds(one, Shelf(), "urn:s", "b")
    assert found is not None and found.concept.inactive and holds(one, Shelf(), "urn:s", "a") is None


def test_what_is_not_at_hand_or_has_no_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ({"system": "urn:none"}, {"valueSet": ["urn:none"]}):
        with pytest.raises(UnknownContent):
            codes(composed(part))
    with pytest.raises(TerminologyError):
        codes(composed({}))
    circle = composed({"valueSet": ["urn:circle"]})
    for ask in (codes, lambda one, shelf: holds(one, shelf, "urn:letters", "a")):
        with pytest.raises(TerminologyError):
            ask(circle, Shelf(circle=circle))
    monkeypatch.setattr(value_set, "MOST", 5)
    with pytest.raises(TooManyCodes):
        codes(composed({"system": "urn:letters"}))


PART = st.fixed_dictionaries(
    {},
    optional={
        "system": st.sampled_from(["urn:letters", "urn:greek"]),
        "concept": st.lists(st.sampled_from("abcxyz"), max_size=4).map(lambda own: [{"code": code} for code in own]),
        "valueSet": st.lists(st.sampled_from(["urn:ab", "urn:bc"]), min_size=1, max_size=2),
    },
).filter(lambda part: "system" in part or "valueSet" in part)


@given(st.lists(PART, max_size=3), st.lists(PART, max_size=2))
def test_each_code_is_held_exactly_when_it_is_listed(
    include: list[dict[str, Any]], exclude: list[dict[str, Any]]
) -> None:
    shelf = Shelf(ab=composed(letters("ab")), bc=composed(letters("bc")))
    one = composed(*include, exclude=exclude)
    listed = {(member.system, member.concept.code) for member in members(one, shelf)}
    for system in ("urn:letters", "urn:greek"):
        for code in (*"abcdefxyz", "alpha", "beta"):
            assert (holds(one, shelf, system, code) is not None) == ((system, code) in listed)


@given(
    st.lists(PART, max_size=3), st.integers(0, 9), st.integers(0, 9), st.sampled_from([EVERY, Active(), Words(("b",))])
)
def test_a_page_is_a_part_of_the_whole(
    include: list[dict[str, Any]], offset: int, count: int, extra: AnyCondition
) -> None:
    shelf = Shelf(ab=composed(letters("ab")), bc=composed(letters("bc")))
    one = Definition(composed(*include))
    whole = expand(one, shelf, extra=extra)
    page = expand(one, shelf, extra=extra, offset=offset, count=count)
    assert page.members == whole.members[offset : offset + count]
    assert page.total == whole.total == len(whole.members)
