"""The conformance statement says what the server accepts on the wire, no more and no less."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.uid import UID_dictionary
from pynetdicom import AE

from server.app.dimse import offers
from server.app.parts import Parts, compose
from server.app.statement import statement
from server.dimse.server import DimseServer
from server.settings import Settings

PAGE = Path(__file__).parent.parent.parent / "docs" / "conformance-statement.md"


@pytest.fixture
def parts(settings: Settings, database_url: str) -> Iterator[Parts]:
    composed = compose(replace(settings, database_url=database_url, dimse_port=0))
    yield composed
    composed.pool.close()
    composed.database.close()


def _rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the table rows below a heading, up to the next heading."""
    part = re.split(r"\n#+ ", text.split(heading, 1)[1], maxsplit=1)[0]
    return [[cell.strip().strip("`") for cell in line.split("|")[1:-1]] for line in part.splitlines() if "|" in line]


def _uids(rows: list[list[str]]) -> list[str]:
    return [cell for row in rows for cell in row if re.fullmatch(r"\d+(\.\d+){3,}", cell)]


def _accepted(port: int, contexts: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of the proposals that the server takes, over a real association for each 128."""
    taken = set()
    for start in range(0, len(contexts), 128):
        entity = AE()
        for abstract, transfer in contexts[start : start + 128]:
            entity.add_requested_context(abstract, transfer)
        association = entity.associate("127.0.0.1", port, ae_title="HUTONG")
        assert association.is_established
        taken |= {(str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in association.accepted_contexts}
        association.release()
    return taken


def test_the_page_is_what_the_tables_say(parts: Parts) -> None:
    assert PAGE.read_text(encoding="utf-8") == statement(parts), (
        "run `hutong statement --out docs/conformance-statement.md` and look at what changed"
    )


def test_every_context_of_the_statement_is_accepted_and_no_other(parts: Parts) -> None:
    text = statement(parts)
    names = {UID_dictionary[uid][0]: uid for uid in UID_dictionary if UID_dictionary[uid][1] == "Transfer Syntax"}
    services = [
        (row[1], names[name]) for row in _rows(text, "### 2.2")[2:] for name in row[3].split(", ") if name in names
    ]
    storage = _uids(_rows(text, "### 2.4"))
    transfers = [uid for uid in storage if uid in UID_dictionary and UID_dictionary[uid][1] == "Transfer Syntax"]
    classes = [uid for uid in storage if uid not in transfers]
    assert len(services) > 25 and len(classes) > 150 and len(transfers) > 30
    stored = [(uid, transfers[number % len(transfers)]) for number, uid in enumerate(classes)]
    stored += [(classes[0], transfer) for transfer in transfers]
    listed = {row[1] for row in _rows(text, "### 2.2")} | set(classes)
    others = [(uid, "1.2.840.10008.1.2") for uid, (_, kind, *_) in UID_dictionary.items() if kind == "SOP Class"]
    others = [(uid, transfer) for uid, transfer in others if uid not in listed]
    assert len(others) > 20
    server = DimseServer(parts.settings, parts.ingest, offers(parts))
    server.start()
    try:
        assert _accepted(server.port, [*services, *stored]) == {*services, *stored}
        assert _accepted(server.port, [*others, ("1.2.840.10008.1.1", "1.2.840.10008.1.2")]) == {
            ("1.2.840.10008.1.1", "1.2.840.10008.1.2")
        }
    finally:
        server.stop()
