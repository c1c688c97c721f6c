"""Attributes declared searchable beside the standard keys (extended query tags), and the values they have.

``attribute_value`` also holds the component groups and words of person names, under negative tag numbers of our own.
"""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Identity, Index, Integer, Numeric, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY

from server.store.tables.metadata import metadata

_C = Text(collation="C")

extended_tag = Table(
    "extended_tag",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("tag", BigInteger, Identity(), primary_key=True),
    # Tags from the outermost sequence inwards, joined by dots: 00400275.00400009.
    Column("path", _C, nullable=False),
    # The private creator of a private attribute; empty otherwise.
    Column("creator", _C, nullable=False, server_default=text("''")),
    Column("vr", Text, nullable=False),
    # Whose attribute it is: study, series or instance.
    Column("level", Text, nullable=False),
    # Whether every stored instance is indexed; only then it is searched by.
    Column("ready", Boolean, nullable=False, server_default=text("false")),
    # The last instance that was indexed, in the order of their keys.
    Column("position", _C, nullable=False, server_default=text("''")),
    Column("indexed", BigInteger, nullable=False, server_default=text("0")),
    Column("created", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    Index("ix_extended_tag_path", "tenant", "path", unique=True),
)

attribute_value = Table(
    "attribute_value",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("tag", BigInteger, primary_key=True, autoincrement=False),
    # v: the value; of a name also g: each component group, w: each word (PS3.4 C.2.2.2.1.1 is ours to define).
    Column("kind", Text(collation="C"), primary_key=True),
    Column("value", _C, primary_key=True),
    # The study, series or instance; the patient of a patient's name.
    Column("entity", _C, primary_key=True),
    # A digest of each sequence item around the value, from the outermost inwards.
    Column("items", ARRAY(_C), primary_key=True),
    # The value of a number.
    Column("number", Numeric),
    Index("ix_attribute_value_entity", "tenant", "entity"),
    Index("ix_attribute_value_number", "tenant", "tag", "number", postgresql_where=text("number is not null")),
)
