"""Code systems taken apart: concepts with what stands above them, designations, properties; and concept maps.

A code system is a CodeSystem resource's, as of one version of it, or was loaded from a release (``hutong terminology
load``). A small one is not taken apart: its resource is read once by each process and kept. A concept's ``key`` is its
system's number and its place therein in one, so that an array of keys, which a GIN index finds, needs no second column.
"""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Identity, Index, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR

from server.store.tables.metadata import metadata

_C = Text(collation="C")
#: Values are indexed by their beginning: btree rows hold 2,704 bytes.
INDEXED_CHARACTERS = 200

code_system = Table(
    "code_system",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("system", BigInteger, Identity(), primary_key=True),
    Column("url", _C, nullable=False),
    Column("version", _C, nullable=False),
    # What CodeSystem says of the whole, as terminology.code_system.Header has it.
    Column("header", JSONB, nullable=False),
    # The resource and its version that this was made from; empty and 0 for a release.
    Column("id", _C, nullable=False, server_default=text("''")),
    Column("resource_version", BigInteger, nullable=False, server_default=text("0")),
    # The digest of the release's file.
    Column("digest", _C, nullable=False, server_default=text("''")),
    # Whether its concepts are in the tables below, how many are there, and whether that is all of them.
    Column("apart", Boolean, nullable=False, server_default=text("false")),
    Column("concepts", Integer, nullable=False, server_default=text("0")),
    Column("complete", Boolean, nullable=False, server_default=text("false")),
    Column("changed", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    Index("ix_code_system_url", "tenant", "url", "version"),
    Index("ix_code_system_resource", "tenant", "id"),
)

code_concept = Table(
    "code_concept",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("system", BigInteger, primary_key=True, autoincrement=False),
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
    # Keys of all that subsumes it.
    Column("ancestors", ARRAY(BigInteger), nullable=False),
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
    Column("tenant", Integer, primary_key=True),
    Column("system", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("place", Integer, primary_key=True, autoincrement=False),
    # As CodeSystem.concept.designation has it.
    Column("body", JSONB, nullable=False),
)

code_property = Table(
    "code_property",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("system", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("place", Integer, primary_key=True, autoincrement=False),
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
    Column("tenant", Integer, primary_key=True),
    Column("map", BigInteger, Identity(), primary_key=True),
    Column("url", _C, nullable=False),
    Column("version", _C, nullable=False),
    # The ConceptMap without its elements: groups with source, target and unmapped.
    Column("body", JSONB, nullable=False),
    Column("id", _C, nullable=False, server_default=text("''")),
    Column("resource_version", BigInteger, nullable=False, server_default=text("0")),
    Column("digest", _C, nullable=False, server_default=text("''")),
    Column("complete", Boolean, nullable=False, server_default=text("false")),
    Column("changed", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    Index("ix_concept_map_url", "tenant", "url", "version"),
    Index("ix_concept_map_resource", "tenant", "id"),
)

concept_map_element = Table(
    "concept_map_element",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("map", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
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
