"""Looking for work costs the same however long the outbox is."""

from sqlalchemy import text

from server.store import changes
from server.store.changes import Position
from server.store.database import Database


def test_a_long_outbox_is_not_read_through(database: Database) -> None:
    with database.unit_of_work() as uow:
        uow.execute(
            text(
                "insert into change (tenant, type, id, version) "
                "select 1, 'Observation', number::text, 1 from generate_series(1, 20000) as number"
            )
        )
    with database.unit_of_work() as uow:
        assert changes.tenants(uow) == (1,)
        last = changes.pending(uow, 1, Position(), 100_000)[-1]
        assert last.id == "20000"
        changes.advance(uow, 1, last.position)
        uow.execute(text("analyze change"))
    with database.reading() as uow:
        assert changes.tenants(uow) == ()
        plan = "\n".join(row[0] for row in uow.execute(text(f"explain (analyze, buffers) {changes._TENANTS.text}")))
        assert "ix_change_order" in plan
        assert "Seq Scan on change" not in plan
        pending = changes._PENDING.text.replace(":tenant", "1").replace(":limit", "200")
        pending = pending.replace(":xid", str(last.xid)).replace(":seq", str(last.seq))
        assert "ix_change_order" in "\n".join(row[0] for row in uow.execute(text(f"explain {pending}")))
