"""Code systems: concepts, hierarchy, filters."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminology.code_system import Header, MemoryCodeSystem
from terminology.concept import Concept
from terminology.errors import TerminologyError
from terminology.filters import of_filter

ANIMALS: dict[str, Any] = {
    "url": "urn:animals",
    "version": "1",
    "name": "Animals",
    "concept": [
        {
            "code": "animal",
            "display": "Animal",
            "property": [{"code": "notSelectable", "valueBoolean": True}],
            "concept": [
                {"code": "dog", "display": "Dog", "designation": [{"language": "de-CH", "value": "Hund"}]},
                {"code": "bird", "display": "Bird", "concept": [{"code": "duck", "display": "Duck"}]},
            ],
        },
        {
            "code": "dodo",
            "property": [{"code": "parent", "valueCode": "bird"}, {"code": "status", "valueCode": "retired"}],
        },
        {
            "code": "robot-dog",
            "property": [{"code": "legs", "valueInteger": 4}, {"code": "parent", "valueCode": "dog"}],
        },
    ],
}
SYSTEM = MemoryCodeSystem.of_resource(ANIMALS)


def test_concepts_keep_their_order_and_parents() -> None:
    assert list(SYSTEM.concepts) == ["animal", "dog", "bird", "duck", "dodo", "robot-dog"]
    assert SYSTEM.above("dodo") == {"bird", "animal"} and SYSTEM.above("animal") == frozenset()
    assert (SYSTEM.header.url, SYSTEM.header.version, SYSTEM.header.name) == ("urn:animals", "1", "Animals")


def test_flags_and_words() -> None:
    found = {
        code: (one.abstract, one.inactive) for code, one in SYSTEM.concepts.items() if one.abstract or one.inactive
    }
    assert found == {"animal": (True, False), "dodo": (False, True)}
    dog = SYSTEM.concepts["dog"]
    assert (dog.shown(), dog.shown("de"), dog.shown("fr")) == ("Dog", "Hund", "Dog")


def test_subsumes() -> None:
    assert SYSTEM.subsumes("animal", "duck") == "subsumes"
    assert SYSTEM.subsumes("duck", "animal") == "subsumed-by"
    assert SYSTEM.subsumes("duck", "duck") == "equivalent"
    assert SYSTEM.subsumes("duck", "dog") == "not-subsumed"


@pytest.mark.parametrize(
    ("name", "op", "value", "codes"),
    [
        ("concept", "is-a", "bird", "bird duck dodo"),
        ("concept", "descendent-of", "bird", "duck dodo"),
        ("concept", "is-not-a", "bird", "animal dog robot-dog"),
        ("concept", "generalizes", "duck", "animal bird duck"),
        ("concept", "in", "dog, duck", "dog duck"),
        ("concept", "not-in", "dog,duck,animal,bird", "dodo robot-dog"),
        ("code", "regex", "d.*", "dog duck dodo"),
        ("legs", "=", "4", "robot-dog"),
        ("legs", "exists", "true", "robot-dog"),
        ("notSelectable", "=", "true", "animal"),
        ("parent", "=", "dog", "robot-dog"),
        ("child", "=", "dodo", "bird"),
    ],
)
def test_filters(name: str, op: str, value: str, codes: str) -> None:
    condition = of_filter(name, op, value)
    assert [one.code for one in SYSTEM.select(condition, limit=99)] == codes.split()
    assert SYSTEM.count(condition, 99) == len(codes.split()) and SYSTEM.count(condition, 0) == 0
    assert [code for code in SYSTEM.concepts if SYSTEM.meets(code, condition)] == codes.split()


def test_filters_that_cannot_be_used_are_refused() -> None:
    for op, value in (("nonsense", "x"), ("regex", "(")):
        with pytest.raises(TerminologyError):
            SYSTEM.meets("dog", of_filter("code", op, value))


def test_case() -> None:
    assert SYSTEM.find("DOG") is None
    folding = MemoryCodeSystem.of_resource({**ANIMALS, "caseSensitive": False})
    found = folding.find("DOG")
    assert found is not None and found.code == "dog"


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20))
def test_any_hierarchy_ends_circles_too(edges: list[tuple[int, int]]) -> None:
    parents: dict[str, tuple[str, ...]] = {str(n): () for n in range(10)}
    for below, over in edges:
        parents[str(below)] = (*parents[str(below)], str(over))
    system = MemoryCodeSystem(Header(url="urn:x"), (Concept(code=code, parents=over) for code, over in parents.items()))
    for a in parents:
        for b in parents:
            mirrored = {"subsumes": "subsumed-by", "subsumed-by": "subsumes"}
            forth, back = system.subsumes(a, b), system.subsumes(b, a)
            assert back == mirrored.get(forth, forth) or (a in system.above(b) and b in system.above(a))
