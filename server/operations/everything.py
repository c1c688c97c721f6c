"""$everything of a compartment: https://hl7.org/fhir/R4/patient-operation-everything.html and its like for Encounter

Which resources belong to it is the standard's compartment, from the tables.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Sequence
from typing import Any

from server.errors import BadRequest
from server.fhir import instants, json_format
from server.fhir.references import references
from server.operations.definition import Call, defined
from server.operations.operation import Operation
from server.repository import Repository, Transaction
from server.search import date
from server.store.resources import Stored

#: Canonical -> where it may be called.
_CANONICALS = {
    "http://hl7.org/fhir/OperationDefinition/Patient-everything": frozenset({"type", "instance"}),
    "http://hl7.org/fhir/OperationDefinition/Encounter-everything": frozenset({"instance"}),
}
#: Resources of the compartment on one page.
MOST = 1000


def operations(repository: Repository) -> tuple[Operation, ...]:
    """On a Patient, on all of them, and on an Encounter."""

    def everything(call: Call) -> dict[str, Any]:
        with repository.reading(call.access) as transaction:
            return _Everything(transaction, call).bundle()

    return tuple(
        defined(repository, canonical, everything, levels=levels, others="_page".__eq__)
        for canonical, levels in _CANONICALS.items()
    )


class _Everything:
    """One page of everything about one resource."""

    def __init__(self, transaction: Transaction, call: Call) -> None:
        self._transaction = transaction
        self._call = call
        self._definitions = transaction.definitions
        count = call.one("_count", MOST)
        if count < 1:
            raise BadRequest("_count is 1 at least.", expression="_count")
        self._count = min(count, MOST)

    def bundle(self) -> dict[str, Any]:
        """A searchset: the resource or each of the type, what is in its compartment, and what those refer to."""
        call = self._call
        focus = [self._transaction.read_stored(call.resource_type, call.id)] if call.id else []
        own = {(one.type, one.id) for one in focus}
        types = self._types()
        turned = dict(call.others).get("_page", "")
        start, cursor = _place(turned, types)
        found = [] if turned or not self._wants(call.resource_type) else focus.copy()
        following = ""
        for number, kind in enumerate(types[start:], start):
            if len(found) >= self._count:
                following = _cursor(kind, "")
                break
            page, more = self._page(kind, cursor if number == start else "", self._count - len(found))
            found += [one for one in page if (one.type, one.id) not in own]
            if more:
                following = _cursor(kind, more)
                break
        return self._answer(found, list(self._referred(own, found)), following)

    def _answer(self, found: list[Stored], referred: list[Stored], following: str) -> dict[str, Any]:
        call = self._call
        url = "/".join(filter(None, (call.base_url, call.resource_type, call.id, "$everything")))
        asked = [f"{name}={value}" for name, values in call.arguments.items() for value in values]
        links = [{"relation": "self", "url": "?".join(filter(None, (url, "&".join(asked))))}]
        if following:
            links.append({"relation": "next", "url": f"{url}?{'&'.join([*asked, f'_page={following}'])}"})
        entries = [
            {
                "fullUrl": f"{call.base_url}/{one.type}/{one.id}",
                "resource": json_format.raw(one.body),
                "search": {"mode": mode},
            }
            for mode, listed in (("match", found), ("include", referred))
            for one in listed
        ]
        whole = {"resourceType": "Bundle", "id": instants.new_id(), "type": "searchset", "link": links}
        return {**whole, "entry": entries} if entries else whole

    def _wants(self, kind: str) -> bool:
        asked = self._asked_types()
        return not asked or kind in asked

    def _asked_types(self) -> list[str]:
        return [one for value in self._call.all("_type") for one in str(value).split(",")]

    def _types(self) -> list[str]:
        """The types of the compartment that are asked for."""
        unknown = [kind for kind in self._asked_types() if not self._definitions.is_resource(kind)]
        if unknown:
            raise BadRequest(f"There is no resource type '{unknown[0][:64]}' in FHIR R4.", expression="_type")
        known = set(self._definitions.compartment(self._call.resource_type))
        return sorted(filter(self._wants, known if self._call.id else known | {self._call.resource_type}))

    def _page(self, kind: str, cursor: str, count: int) -> tuple[Sequence[Stored], str]:
        parameters = [("_count", str(count))]
        if since := self._call.one("_since"):
            parameters.append(("_lastUpdated", f"ge{since}"))
        if self._has_date(kind):
            for name, prefix in (("start", "ge"), ("end", "le")):
                if (day := self._call.one(name)) is not None:
                    date.moment(day)
                    parameters.append(("date", f"{prefix}{day}"))
        if cursor:
            parameters.append(("_page", cursor))
        place = (self._call.resource_type, self._call.id)
        result = self._transaction.search(kind, parameters, compartment=place)
        return result.matches, result.next

    def _has_date(self, kind: str) -> bool:
        """Whether the type says when care was given; others are given whatever their date."""
        found = self._definitions.search_parameters(kind).get("date")
        return found is not None and found.type == "date"

    def _referred(self, own: set[tuple[str, str]], found: list[Stored]) -> Iterator[Stored]:
        """What the resources of this page refer to besides; never another one of the compartment's own type."""
        known = own | {(one.type, one.id) for one in found}
        wanted = set()
        for one in found:
            for text in references(self._definitions, json_format.parse(one.body)):
                kind, _, id = text.partition("/")
                if self._definitions.is_resource(kind) and kind != self._call.resource_type and self._wants(kind):
                    wanted.add((kind, id))
        yield from self._transaction.read_many(sorted(wanted - known))


def _cursor(kind: str, inner: str) -> str:
    return urlsafe_b64encode(f"{kind} {inner}".encode()).decode().rstrip("=")


def _place(cursor: str, types: list[str]) -> tuple[int, str]:
    if not cursor:
        return 0, ""
    try:
        kind, _, inner = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition(" ")
        return types.index(kind), inner
    except (binascii.Error, ValueError) as error:
        raise BadRequest("_page is what a next link says, unchanged.", expression="_page") from error
