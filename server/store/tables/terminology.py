"""Code systems taken apart: concepts with what stands above them, designations, properties; and concept maps.

A code system is a CodeSystem resource's, as of one version of it, or was loaded from a release (``hutong terminology
load``). A small one is not taken apart: its resource is read once by each process and kept. A concept's ``key`` is its
system's number and its place therein in one, so that an array of keys, which a GIN index finds, needs no second column.
"""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Identity, Index, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR

from server.store.tables.metadata import metadata

_C = Text(collation="C")
#: Values are indexed by their beginning: btree rows hold 2,704 bytes.
INDEXED_CHARACTERS = 200


def _key(*parts: str) -> tuple[Column[int], ...]:
    """The primary key: the tenant, the whole that a row is of, and places therein."""
    whole, *places = parts
    rest = (Column(name, Integer, primary_key=True, autoincrement=False) for name in places)
    return (
        Column("tenant", Integer, primary_key=True),
        Column(whole, BigInteger, primary_key=True, autoincrement=False),
        *rest,
    )


def _whole(number: str) -> tuple[Column[Any], ...]:
    """The key of what has parts, and its canonical."""
    return (
        Column("tenant", Integer, primary_key=True),
        Column(number, BigInteger, Identity(), primary_key=True),
        Column("url", _C, nullable=False),
        Column("version", _C, nullable=False),
    )


def _source() -> tuple[Column[Any], ...]:
    return (
        # The resource and its version that this was made from; empty and 0 for a release.
        Column("id", _C, nullable=False, server_default=text("''")),
        Column("resource_version", BigInteger, nullable=False, server_default=text("0")),
        # The digest of the release's file.
        Column("digest", _C, nullable=False, server_default=text("''")),
    )


def _standing() -> tuple[Column[Any], ...]:
    return (
        # Whether all of it is in the tables, so that it is at hand, and since when.
        Column("complete", Boolean, nullable=False, server_default=text("false")),
        Column("changed", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    )


code_system = Table(
    "code_system",
    metadata,
    *_whole("system"),
    # What CodeSystem says of the whole, as terminology.code_system.Header has it.
    Column("header", JSONB, nullable=False),
    *_source(),
    # Whether its concepts are in the tables below, and how many are there.
    Column("apart", Boolean, nullable=False, server_default=text("false")),
    Column("concepts", Integer, nullable=False, server_default=text("0")),
    *_standing(),
    Index("ix_code_system_url", "tenant", "url", "version"),
    Index("ix_code_system_resource", "tenant", "id"),
)

code_concept = Table(
    "code_concept",
    metadata,
    *_key("system"),
    Column("code", _C, primary_key=True),
    # Its place in the system.
    Column("number", Integer, nullable=False),
    Column("key", BigInteger, nullable=False),
    Column("display", Text, nullable=False),
    Column("definition", Text, nullable=False),
    Column("inactive", Boolean, nullable=False),
    Column("abstract", Boolean, nullable=False),
    # The code in lower case, where it is another one.
    Column("folded", _C),
    # Keys of all that subsumes it, and its own.
    Column("ancestors", ARRAY(BigInteger), nullable=False),
    # How many it subsumes, itself among them.
    Column("below", Integer, nullable=False),
    # What it is found by: the words of code, display and designations.
    Column("words", TSVECTOR, nullable=False),
    Index("ix_code_concept_number", "tenant", "system", "number", unique=True),
    Index("ix_code_concept_folded", "tenant", "system", "folded", postgresql_where=text("folded is not null")),
    Index("ix_code_concept_ancestors", "ancestors", postgresql_using="gin"),
    Index("ix_code_concept_words", "words", postgresql_using="gin"),
)

code_designation = Table(
    "code_designation",
    metadata,
    *_key("system", "number", "place"),
    # As CodeSystem.concept.designation has it.
    Column("body", JSONB, nullable=False),
)

code_property = Table(
    "code_property",
    metadata,
    *_key("system", "number", "place"),
    Column("property", _C, nullable=False),
    # As text; of a Coding the code.
    Column("value", _C, nullable=False),
    # valueCode, valueCoding, ...; the direct parents are kept as the property "parent".
    Column("type", _C, nullable=False),
    # What of a Coding is not its code.
    Column("rest", JSONB),
    Index(
        "ix_code_property_value", "tenant", "system", "property", text(f'left("value", {INDEXED_CHARACTERS})'), "number"
    ),
)

concept_map = Table(
    "concept_map",
    metadata,
    *_whole("map"),
    # The ConceptMap without its elements: groups with source, target and unmapped.
    Column("body", JSONB, nullable=False),
    *_source(),
    *_standing(),
    Index("ix_concept_map_url", "tenant", "url", "version"),
    Index("ix_concept_map_resource", "tenant", "id"),
)

concept_map_element = Table(
    "concept_map_element",
    metadata,
    *_key("map", "number"),
    # The group's place in the map.
    Column("group", Integer, nullable=False),
    Column("code", _C, nullable=False),
    # The target's code; empty where there is none.
    Column("target", _C, nullable=False),
    # The element with this one target, as ConceptMap.group.element has it.
    Column("body", JSONB, nullable=False),
    Index("ix_concept_map_element_code", "tenant", "map", "code"),
    Index("ix_concept_map_element_target", "tenant", "map", "target"),
)
