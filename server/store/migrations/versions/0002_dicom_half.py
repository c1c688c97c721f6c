"""The DICOM half: tables for what it brings, and columns on the tables that were there.

Every statement may meet a schema that has it already: a fresh database got all tables, as they stand now, by 0001.
"""

from alembic import op
from sqlalchemy import text

from server.store.tables import metadata

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

#: What is new on tables of 0001; "if not exists" in each.
STATEMENTS: tuple[str, ...] = (
    "do $$ begin if exists (select from information_schema.columns where table_schema = current_schema() "
    "and table_name = 'instance' and column_name = 'sha256') then "
    "alter table instance rename column sha256 to digest; end if; end $$",
    # Headers stay in their row as they are: packing them costs every arrival and every answer more than room is worth.
    "alter table instance set (toast_tuple_target = 8160)",
    "alter table pack add column if not exists removed bigint not null default 0",
    "alter table pack add column if not exists retired timestamptz",
    "alter table pack add column if not exists verified timestamptz",
    "alter table study add column if not exists locked boolean not null default false",
    "create index if not exists ix_instance_pack on instance (tenant, pack)",
    "insert into storage_use (tenant, sender, bytes, instances) select tenant, sender, sum(length), count(*) "
    "from instance where not exists (select from storage_use) group by tenant, sender",
    "alter table sending add column if not exists rule text not null default ''",
    "alter table sending add column if not exists committed timestamptz",
    "alter table sending add column if not exists dropped timestamptz",
    "update sending set rule = 'results' where rule = ''",
    "create index if not exists ix_sending_delivery on sending (tenant, peer, study, rule)",
    "insert into delivery (tenant, peer, study, rule) select distinct tenant, peer, study, rule from sending "
    "where sent is null on conflict do nothing",
    "alter table study_activity add column if not exists forwarded bigint not null default 0",
    "update study_activity set forwarded = revision",
    "create index if not exists ix_study_activity_unforwarded on study_activity (last_seen) where forwarded < revision",
    "create index if not exists ix_study_sorted on study (tenant, study_date, study_time, study)",
    "drop index if exists ix_study_study_date",
    "create index if not exists ix_series_sorted on series (tenant, study, series_number, series)",
    "drop index if exists ix_series_study",
    *(
        "insert into attribute_value (tenant, tag, kind, value, entity, items) "
        f"select tenant, {tag}, kind, part, {key}, '{{}}' from {table}, lateral ("
        f"select 'v' kind, {column} part union select 'g', regexp_split_to_table({column}, '=') "
        f"union select 'w', left(regexp_split_to_table({column}, '[\\s^=,.;-]+'), 64)) parts "
        "where part <> '' on conflict do nothing"
        for tag, table, key, column in (
            (-1, "patient", "patient", "name_folded"),
            (-2, "study", "study", "referring_folded"),
        )
    ),
)


def upgrade() -> None:
    """Creates the tables that are missing, then what is missing on the others."""
    connection = op.get_bind()
    metadata.create_all(connection, checkfirst=True)
    for statement in STATEMENTS:
        connection.execute(text(statement))
