"""What matching in memory looks up in the database: what references point to, and what refers to a resource."""

from collections.abc import Iterator
from typing import Any

from server.fhir import json_format
from server.search.match import Referring, Resolve
from server.search.numbers import number
from server.store import resources
from server.store.database import UnitOfWork

#: Referring resources that are read at a time.
_TOGETHER = 100


def stored(uow: UnitOfWork, tenant: int) -> tuple[Resolve, Referring]:
    """Both, over what is stored now."""

    def resolve(target: str) -> dict[str, Any] | None:
        kind, _, id = target.partition("/")
        there = resources.by_reference(uow, tenant, [(kind, id)])
        return json_format.parse(there[0].body) if there else None

    def referring(source_type: str, code: str, target: str) -> Iterator[dict[str, Any]]:
        after = 0
        while True:
            found = resources.referring(uow, tenant, number(source_type, code), target, after=after, most=_TOGETHER)
            yield from (json_format.parse(one.body) for one in found)
            if len(found) < _TOGETHER:
                return
            after = found[-1].key

    return resolve, referring
