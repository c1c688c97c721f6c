"""Code systems in tables answer as those in memory do, on made-up systems and conditions."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.store import terminology, terminology_write
from server.store.database import Database, UnitOfWork
from server.store.terminology import IndexedCodeSystem
from terminology import condition as c
from terminology import hierarchy
from terminology.code_system import Header, MemoryCodeSystem
from terminology.concept import Concept

CODES = ["a", "b", "C", "d'", "e\\", "1-8", "肺", "x" * 300, "ä"]
NAMES = ["color", "size", "flag", "notSelectable", "inactive", "status"]
WORDS = ["lung", "Lunge", "肺结节", "nodule of lung", "5 mm", "", "Müller's sign", "a_b \\ '"]
VALUES = {
    "valueCode": st.sampled_from([*CODES, "retired", "active"]),
    "valueString": st.sampled_from(["red", "green", "y" * 3000, "y" * 3000 + "z"]),
    "valueBoolean": st.booleans(),
    "valueInteger": st.integers(-3, 3),
    "valueDecimal": st.sampled_from(["1.50", "2"]),
    "valueCoding": st.fixed_dictionaries({"code": st.sampled_from(CODES), "system": st.just("urn:x")}),
}
PROPERTY = st.sampled_from(sorted(VALUES)).flatmap(
    lambda kind: st.fixed_dictionaries({"code": st.sampled_from(NAMES), kind: VALUES[kind]})
)
DESIGNATION = st.fixed_dictionaries(
    {"value": st.sampled_from(WORDS)}, optional={"language": st.sampled_from(["de", "zh-CN"])}
)


def concept(code: str) -> st.SearchStrategy[Concept]:
    return st.builds(
        Concept,
        code=st.just(code),
        display=st.sampled_from(WORDS),
        definition=st.sampled_from(["", "What it is."]),
        designations=st.lists(DESIGNATION, max_size=2).map(tuple),
        properties=st.lists(PROPERTY, max_size=3).map(tuple),
        parents=st.lists(st.sampled_from(CODES), max_size=2, unique=True).map(tuple),
    )


CONCEPTS = st.lists(st.sampled_from(CODES), unique=True, max_size=9).flatmap(
    lambda codes: st.tuples(*(concept(code) for code in codes))
)
SIMPLE = st.one_of(
    st.builds(c.Codes, st.frozensets(st.sampled_from(CODES))),
    st.builds(c.Below, st.sampled_from(CODES), st.booleans()),
    st.builds(c.Above, st.sampled_from(CODES), st.booleans()),
    st.builds(
        c.Having,
        st.sampled_from([*NAMES, "code", "display", "parent", "child", "none"]),
        st.none() | st.frozensets(st.sampled_from([*CODES, "red", "true", "2", "y" * 3000, "lung"])),
    ),
    st.builds(
        c.Matching, st.sampled_from([*NAMES, "code", "display"]), st.sampled_from(["[a-d]+", "y*", "(true|red)"])
    ),
    st.builds(
        c.Words, st.lists(st.sampled_from(["lu", "nod", "肺", "结节", "5", "muller", "s"]), max_size=2).map(tuple)
    ),
    st.just(c.Active()),
    st.just(c.Selectable()),
)
CONDITIONS = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.builds(c.Every, st.lists(inner, max_size=2).map(tuple)),
        st.builds(c.Some, st.lists(inner, max_size=2).map(tuple)),
        st.builds(c.Not, inner),
        st.builds(c.Leading, st.sampled_from(["color", "size", "parent"]), inner),
    ),
    max_leaves=4,
)


@contextmanager
def indexed(database: Database, header: Header, concepts: tuple[Concept, ...]) -> Iterator[IndexedCodeSystem]:
    """The concepts in tables, until the end of the block."""

    class Undo(Exception):
        pass

    with pytest.raises(Undo), database.unit_of_work() as uow:
        system = terminology_write.enter(uow, 1, header, apart=True, complete=True)
        above = hierarchy.ancestors(hierarchy.places(concepts))
        terminology_write.copy(uow, 1, system, enumerate(concepts), above)
        (entry,) = terminology.entries(uow, 1, header.url)
        yield IndexedCodeSystem(uow, 1, entry)
        raise Undo


def told(concept: Concept | None) -> Any:
    """What is known of a concept; flags count, however they were stated."""
    if concept is None:
        return None
    stated = sorted(
        json.dumps(one, sort_keys=True)
        for one in concept.properties
        if one["code"] not in ("inactive", "notSelectable")
    )
    return (
        concept.code, concept.display, concept.definition, concept.designations, stated, concept.parents,
        concept.inactive, concept.abstract,
    )  # fmt: skip


def test_tables_and_memory_agree(database: Database) -> None:
    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(CONCEPTS, st.lists(CONDITIONS, min_size=1, max_size=4), st.booleans(), st.integers(0, 3))
    def agree(concepts: tuple[Concept, ...], conditions: list[Any], case_sensitive: bool, offset: int) -> None:
        header = Header(url="urn:s", case_sensitive=case_sensitive, properties=({"code": "color"},))
        memory = MemoryCodeSystem(header, concepts)
        with indexed(database, header, concepts) as tables:
            assert tables.header == header
            for code in [*CODES, "A", "c", "Ä", "none"]:
                assert told(tables.find(code)) == told(memory.find(code)), code
                assert tables.children(code) == memory.children(code)
                met = [memory.meets(code, one) for one in conditions]
                assert [tables.meets(code, one) for one in conditions] == met
            for a, b in zip(CODES, CODES[1:] + CODES[:1], strict=True):
                if a in memory.concepts and b in memory.concepts:
                    assert tables.subsumes(a, b) == memory.subsumes(a, b)
            for one in conditions:
                expected = list(memory.select(one, offset=offset, limit=3))
                assert [told(found) for found in tables.select(one, offset=offset, limit=3, full=True)] == [
                    told(found) for found in expected
                ]
                assert [f.code for f in tables.select(one, offset=offset, limit=3)] == [f.code for f in expected]
                assert tables.count(one, 99) == memory.count(one, 99)

    agree()


def test_a_release_that_is_not_complete_is_not_there(database: Database) -> None:
    with database.unit_of_work() as uow:
        first = terminology_write.enter(uow, 1, Header(url="urn:s", version="1"), digest="x", apart=True)
        terminology_write.copy(uow, 1, first, [(0, Concept(code="a"))], [()])
    with database.unit_of_work() as uow:
        assert terminology.entries(uow, 1, "urn:s") == ()
        assert terminology_write.begun(uow, 1, "urn:s", "1", "x") == (first, 1)
        assert terminology_write.begun(uow, 1, "urn:s", "1", "other") is None
        terminology_write.complete(uow, 1, first)
        second = terminology_write.enter(uow, 1, Header(url="urn:s", version="1"), digest="y", apart=True)
        assert [one.system for one in terminology.entries(uow, 1, "urn:s")] == [first]
        terminology_write.complete(uow, 1, second)
        assert [one.system for one in terminology.entries(uow, 1, "urn:s")] == [second]
        assert terminology.entries(uow, 2, "urn:s") == ()
        assert terminology_write.superseded(uow, 1) == [first]
        terminology_write.remove(uow, 1, [first])
        assert _concepts(uow) == []


def _concepts(uow: UnitOfWork) -> list[Any]:
    return uow.driver.execute("select code from code_concept").fetchall()
