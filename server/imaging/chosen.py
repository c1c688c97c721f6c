"""Studies and series chosen by QIDO-RS keys, all of them: what an operator's commands and rules work on."""

from collections.abc import Iterable, Iterator

import orjson

from server.errors import BadRequest
from server.imaging import query
from server.security.access import Access
from server.store.database import Database
from server.store.studies import Level


def keys(texts: Iterable[str]) -> list[tuple[str, str]]:
    """``Keyword=value`` as keys and values; raises BadRequest for anything else."""
    found = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise BadRequest(f"'{text}' is no key; write it as Keyword=value, e.g. PatientID=P1.", expression=text)
        found.append((name.strip(), value.strip()))
    return found


def chosen(
    database: Database, access: Access, level: Level, wanted: Iterable[tuple[str, str]]
) -> list[tuple[str, ...]]:
    """The UIDs (study, or study and series) of everything that matches; raises BadRequest for an unknown key."""
    return list(_pages(database, access, level, list(wanted)))


def _pages(
    database: Database, access: Access, level: Level, wanted: list[tuple[str, str]]
) -> Iterator[tuple[str, ...]]:
    tags = ("0020000D",) if level == "study" else ("0020000D", "0020000E")
    offset = 0
    while True:
        asked = query.parse(level, [*wanted, ("offset", str(offset))], {}, strict=True)
        results = query.search(database, access, asked, "").results
        for result in results:
            found = orjson.loads(result)
            yield tuple(found[tag]["Value"][0] for tag in tags)
        if len(results) < query.MOST:
            return
        offset += len(results)
