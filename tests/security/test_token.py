"""Bearer tokens: shown once, found by digest, refused otherwise."""

import pytest
from sqlalchemy import text

from server.errors import BadRequest, Unauthenticated
from server.security.token import access_for, create
from server.store.database import Database


def test_a_token_gives_its_scopes(database: Database) -> None:
    made = create(database, tenant=1, name="viewer", scopes=frozenset({"read"}))
    access = access_for(database, made)
    assert (access.who, access.tenant, access.scopes) == ("viewer", 1, frozenset({"read"}))


def test_the_token_itself_is_not_kept(database: Database) -> None:
    made = create(database, tenant=1, name="viewer", scopes=frozenset({"read"}))
    with database.reading() as uow:
        kept = str(uow.execute(text("select * from token")).all())
    assert made not in kept


def test_others_are_refused(database: Database) -> None:
    made = create(database, tenant=1, name="viewer", scopes=frozenset({"read"}))
    with pytest.raises(Unauthenticated):
        access_for(database, made + "x")
    with database.unit_of_work() as uow:
        uow.execute(text("update token set revoked = now()"))
    with pytest.raises(Unauthenticated):
        access_for(database, made)


def test_unknown_scopes_are_refused(database: Database) -> None:
    with pytest.raises(BadRequest, match="admin"):
        create(database, tenant=1, name="x", scopes=frozenset({"everything"}))
