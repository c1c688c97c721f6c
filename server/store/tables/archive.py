"""What keeping an archive needs beside the index: deletions, rejections, locks, use of storage, files imported."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    text,
)

from server.store.tables.imaging import instance
from server.store.tables.metadata import metadata

_C = Text(collation="C")


def _now(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()"))


#: An instance that was deleted: what is left of it.
tombstone = Table(
    "tombstone",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("instance", _C, primary_key=True),
    Column("series", _C, nullable=False),
    Column("study", _C, nullable=False),
    Column("sop_class", _C, nullable=False),
    # Of the file, by which what was made from it is known; null when that is cleared away too.
    Column("digest", LargeBinary),
    Column("who", Text, nullable=False),
    # DICOM code of the reason, e.g. 113039; empty for a plain DELETE.
    Column("reason", _C, nullable=False, server_default=text("''")),
    _now("at"),
    Index("ix_tombstone_uncleared", "at", postgresql_where=text("digest is not null")),
    Index("ix_tombstone_study", "tenant", "study"),
    Index("ix_tombstone_series", "tenant", "series"),
    Index("ix_tombstone_at", "at"),
)

#: An instance that a rejection note (IHE IOCM) speaks of, whether it came before the note or not.
rejection = Table(
    "rejection",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("instance", _C, primary_key=True),
    Column("study", _C, nullable=False),
    # SOP Instance UID of the note.
    Column("note", _C, nullable=False),
    # DICOM code of the note's title.
    Column("reason", _C, nullable=False),
    Column("who", Text, nullable=False),
    _now("at"),
    Index("ix_rejection_note", "tenant", "note"),
)

#: Rows of ``instance`` that are hidden: nothing that reads ``instance`` can show them by mistake.
hidden_instance = Table(
    "hidden_instance",
    metadata,
    *(
        Column(
            column.name,
            column.type,
            primary_key=column.primary_key,
            nullable=column.nullable,
            server_default=column.server_default.arg if column.server_default is not None else None,  # type: ignore[attr-defined]
        )
        for column in instance.columns
    ),
    ForeignKeyConstraint(["tenant", "pack"], ["pack.tenant", "pack.pack"]),
    Index("ix_hidden_instance_study", "tenant", "study"),
    Index("ix_hidden_instance_pack", "tenant", "pack"),
)

#: A study that may be neither changed nor deleted, e.g. for a legal hold.
study_lock = Table(
    "study_lock",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("study", _C, primary_key=True),
    Column("who", Text, nullable=False),
    Column("reason", Text, nullable=False),
    _now("at"),
)

#: Bytes and instances by sender, as entries that are summed: senders never wait for each other over a running total.
storage_use = Table(
    "storage_use",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("entry", BigInteger, Identity(), primary_key=True),
    Column("sender", _C, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("instances", BigInteger, nullable=False),
)

#: A file that ``hutong import`` looked at: the next run knows it by path, size and time.
import_file = Table(
    "import_file",
    metadata,
    Column("tenant", Integer, primary_key=True),
    # As the file system has it; a member of a zip file behind "!/".
    Column("path", LargeBinary, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("modified", BigInteger, nullable=False),
    # stored, already, refused or other (no DICOM instance).
    Column("outcome", Text, nullable=False),
    Column("instance", _C, nullable=False, server_default=text("''")),
    Column("details", Text, nullable=False, server_default=text("''")),
    _now("at"),
)
