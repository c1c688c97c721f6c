"""Patients, studies, series, instances (PS3.3 chapter 7's model), the packs that hold their bytes, and study activity.

The columns beside ``attributes`` are the QIDO-RS index. Text that is matched without regard to case is kept folded in
a second column; ``COLLATE "C"`` lets prefix patterns use the index.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from server.store.tables.metadata import metadata

_C = Text(collation="C")


def _now(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()"))


def _text(name: str) -> Column[str]:
    return Column(name, _C, nullable=False, server_default=text("''"))


patient = Table(
    "patient",
    metadata,
    Column("tenant", Integer, primary_key=True),
    # Id of the FHIR Patient: derived from tenant, issuer and PatientID (from the study where there is no PatientID).
    Column("patient", _C, primary_key=True),
    _text("issuer"),
    _text("patient_id"),
    _text("name"),
    _text("name_folded"),
    _text("birth_date"),
    _text("sex"),
    # DICOM JSON of the patient level attributes, as first received.
    Column("attributes", LargeBinary, nullable=False),
    _now("created"),
    Index("ix_patient_patient_id", "tenant", "patient_id"),
    Index("ix_patient_name_folded", "tenant", "name_folded"),
    Index("ix_patient_birth_date", "tenant", "birth_date"),
)

study = Table(
    "study",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("study", _C, primary_key=True),
    Column("patient", _C, nullable=False),
    _text("study_date"),
    _text("study_time"),
    # StudyDate and StudyTime in UTC, by TimezoneOffsetFromUTC or the tenant's zone; null where the date is missing.
    Column("started", DateTime(timezone=True)),
    _text("accession"),
    _text("study_id"),
    _text("description"),
    _text("description_folded"),
    _text("referring"),
    _text("referring_folded"),
    Column("modalities", ARRAY(_C), nullable=False, server_default=text("'{}'")),
    Column("sop_classes", ARRAY(_C), nullable=False, server_default=text("'{}'")),
    Column("series_count", Integer, nullable=False, server_default=text("0")),
    Column("instance_count", Integer, nullable=False, server_default=text("0")),
    Column("attributes", LargeBinary, nullable=False),
    # Whether it may be neither changed nor deleted; study_lock says why.
    Column("locked", Boolean, nullable=False, server_default=text("false")),
    _now("created"),
    ForeignKeyConstraint(["tenant", "patient"], ["patient.tenant", "patient.patient"]),
    Index("ix_study_patient", "tenant", "patient"),
    Index("ix_study_sorted", "tenant", "study_date", "study_time", "study"),
    Index("ix_study_accession", "tenant", "accession"),
    Index("ix_study_created", "tenant", "created"),
)

series = Table(
    "series",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("series", _C, primary_key=True),
    Column("study", _C, nullable=False),
    _text("modality"),
    Column("series_number", BigInteger),
    _text("description"),
    _text("description_folded"),
    _text("body_part"),
    _text("laterality"),
    _text("step_date"),
    _text("step_time"),
    _text("station"),
    _text("manufacturer"),
    Column("instance_count", Integer, nullable=False, server_default=text("0")),
    Column("attributes", LargeBinary, nullable=False),
    _now("created"),
    ForeignKeyConstraint(["tenant", "study"], ["study.tenant", "study.study"]),
    Index("ix_series_sorted", "tenant", "study", "series_number", "series"),
    Index("ix_series_modality", "tenant", "modality"),
)

pack = Table(
    "pack",
    metadata,
    Column("tenant", Integer, primary_key=True),
    # Our own random name; no identifier from outside becomes a path.
    Column("pack", _C, primary_key=True),
    # Name of the key that the bytes are encrypted with; empty for none.
    _text("encryption_key"),
    _now("created"),
    # Bytes of instances that were deleted since.
    Column("removed", BigInteger, nullable=False, server_default=text("0")),
    # When the last instance left it; the file follows when no reader can still mean it.
    Column("retired", DateTime(timezone=True)),
    # When every instance in it was last read and found as it came.
    Column("verified", DateTime(timezone=True)),
)

instance = Table(
    "instance",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("instance", _C, primary_key=True),
    Column("series", _C, nullable=False),
    Column("study", _C, nullable=False),
    Column("sop_class", _C, nullable=False),
    Column("transfer_syntax", _C, nullable=False),
    Column("instance_number", BigInteger),
    Column("frames", Integer, nullable=False, server_default=text("1")),
    Column("rows", Integer),
    Column("columns", Integer),
    Column("bits_allocated", Integer),
    # Where the bytes are, as they came: a Part 10 file inside a pack.
    Column("pack", _C, nullable=False),
    Column("pack_offset", BigInteger, nullable=False),
    Column("length", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    # Offset of the data set behind the file meta information, and of the pixel data's value, inside the file.
    Column("dataset_offset", Integer, nullable=False),
    Column("pixel_offset", BigInteger),
    # 4294967295 for encapsulated pixel data (undefined length).
    Column("pixel_length", BigInteger),
    # Who sent it: a token's name or an AE title.
    _text("sender"),
    # The whole data set as DICOM JSON; bulk data are references that retrieval makes absolute.
    Column("metadata", LargeBinary, nullable=False),
    _now("created"),
    ForeignKeyConstraint(["tenant", "series"], ["series.tenant", "series.series"]),
    ForeignKeyConstraint(["tenant", "pack"], ["pack.tenant", "pack.pack"]),
    Index("ix_instance_series", "tenant", "series", "instance_number"),
    Index("ix_instance_study", "tenant", "study"),
    Index("ix_instance_sop_class", "tenant", "sop_class"),
    Index("ix_instance_pack", "tenant", "pack"),
)

study_activity = Table(
    "study_activity",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("study", _C, primary_key=True),
    # When the last new instance was committed.
    _now("last_seen"),
    # Counts the changes; the sweeper notes in ``dispatched`` up to which one it deferred "study-changed".
    Column("revision", BigInteger, nullable=False, server_default=text("1")),
    Column("dispatched", BigInteger, nullable=False, server_default=text("0")),
    # Up to which change the forwarding rules for single instances were asked.
    Column("forwarded", BigInteger, nullable=False, server_default=text("0")),
    Index("ix_study_activity_unforwarded", "last_seen", postgresql_where=text("forwarded < revision")),
    Index("ix_study_activity_open", "last_seen", postgresql_where=text("dispatched < revision")),
)
