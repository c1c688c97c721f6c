"""User identity negotiation (PS3.7 D.3.3.7): off it is ignored, on a bearer token is the passcode."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest
from pynetdicom import AE
from pynetdicom.pdu_primitives import UserIdentityNegotiation

from server.dimse.server import DimseServer
from server.errors import Unavailable
from server.imaging.ingest import Ingest
from server.security import token
from server.security.access import Access
from server.settings import Settings
from server.store.database import Database
from tests.dimse.wire import CT, EXPLICIT, VERIFICATION, Wire, data, item, pdv, request, store


@pytest.fixture
def guarded(settings: Settings, ingest: Ingest, database: Database) -> Iterator[DimseServer]:
    identify = partial(token.access_for, database)
    started = DimseServer(replace(settings, dimse_port=0, dimse_identity=True), ingest, (), identify)
    started.start()
    yield started
    started.stop()


def identity(kind: int, passcode: str) -> UserIdentityNegotiation:
    asked = UserIdentityNegotiation()
    asked.user_identity_type = kind
    asked.positive_response_requested = True
    asked.primary_field = b"radiographer"
    if kind == 2:
        asked.secondary_field = passcode.encode()
    return asked


def accepted(port: int, *negotiation: UserIdentityNegotiation) -> bool:
    entity = AE()
    entity.add_requested_context(VERIFICATION)
    association = entity.associate("127.0.0.1", port, ae_title="HUTONG", ext_neg=list(negotiation))
    assert association.is_established
    answered = association.acceptor.user_identity is not None
    assert association.send_c_echo().Status == 0
    association.release()
    return answered


def rejection(port: int, user: bytes = b"") -> tuple[int, bytes]:
    """The answer on the wire: pynetdicom may close before it notes that it was rejected."""
    with Wire(port) as caller:
        caller.send(request(user=user))
        return caller.pdu()


def test_a_token_is_the_passcode(guarded: DimseServer, database: Database) -> None:
    text = token.create(database, tenant=1, name="ward", scopes=frozenset({"read", "write"}))
    assert accepted(guarded.port, identity(2, text))
    # Permanently, by the service provider (ACSE), without a reason (PS3.8 table 9-21).
    refused = (3, b"\0\1\2\1")
    assert rejection(guarded.port, item(0x58, b"\2\0" + b"\0\1x" + b"\0\5guess")) == refused
    assert rejection(guarded.port, item(0x58, b"\1\0" + b"\0\1x" + b"\0\0")) == refused
    assert rejection(guarded.port) == refused


def test_the_tokens_rights_hold(guarded: DimseServer, database: Database) -> None:
    text = token.create(database, tenant=1, name="reader", scopes=frozenset({"read"})).encode()
    user = item(0x58, b"\2\0" + b"\0\1x" + len(text).to_bytes(2, "big") + text)
    with Wire(guarded.port) as caller:
        caller.associate(request([(3, CT, [EXPLICIT])], user=user))
        caller.send(data(pdv(3, 3, store("1.2.3")), pdv(3, 2, b"abcd")))
        assert caller.status() == 0x0124


def test_without_a_database_a_caller_is_put_off(settings: Settings, ingest: Ingest) -> None:
    def identify(_passcode: str) -> Access:
        raise Unavailable("The database does not answer now.")

    alone = DimseServer(replace(settings, dimse_port=0, dimse_identity=True), ingest, (), identify)
    alone.start()
    with Wire(alone.port) as caller:
        caller.send(request(user=item(0x58, b"\2\0" + b"\0\1x" + b"\0\1y")))
        assert caller.pdu() == (3, b"\0\2\3\1")
    alone.stop()


def test_without_the_setting_an_identity_changes_nothing(server: DimseServer) -> None:
    user = item(0x58, b"\2\1" + b"\0\1x" + b"\0\1y")
    with Wire(server.port) as caller:
        body = caller.associate(request(user=user))
        assert b"\x59\0\0" not in body
        assert caller.echo() == 0
