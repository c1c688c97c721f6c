"""$export of the system, of all Patients and of a Group: https://hl7.org/fhir/uv/bulkdata/export.html (2.0.0)

The kick-off; the work is done by ``export_job``.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from server.errors import BadRequest, NotFound, UnknownParameter
from server.fhir.definitions import Definitions
from server.operations.bulk import BulkRequests
from server.operations.definition import Call, defined
from server.operations.operation import Accepted, Operation
from server.repository import Repository, Transaction
from server.search import url

TASK = "export"
_GUIDE = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/"
_CANONICALS = (f"{_GUIDE}export", f"{_GUIDE}patient-export", f"{_GUIDE}group-export")
#: The compartment that exports of Patients and Groups are of.
COMPARTMENT = "Patient"
#: They bring along the Provenance of what they give.
PROVENANCE = "Provenance"
_FORMATS = ("application/fhir+ndjson", "application/ndjson", "ndjson")
#: Between two filters; a comma within one is followed by something else.
_BETWEEN = re.compile(r",(?=[A-Z][A-Za-z]*\?)")
_RESULT_PARAMETERS = frozenset({
    "_sort", "_count", "_page", "_include", "_revinclude", "_summary", "_elements", "_total", "_contained",
    "_containedType", "_type", "_explain", "_format", "_pretty",
})  # fmt: skip


def operations(repository: Repository, requests: BulkRequests) -> tuple[Operation, ...]:
    """On the system, on the type Patient, on a Group."""

    def export(call: Call) -> Accepted:
        call.access.require("read")
        if call.others and not call.lenient:
            name = call.others[0][0]
            raise UnknownParameter(f"$export does not know '{name[:64]}'.", expression=name[:64])
        with repository.reading(call.access) as transaction:
            asked = _asked(transaction, call)
        return requests.accept(call, TASK, "export", asked)

    return tuple(defined(repository, canonical, export, others=_is_other) for canonical in _CANONICALS)


def _is_other(_: str) -> bool:
    """Every parameter is taken: under handling=lenient unknown ones are ignored."""
    return True


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What an export is to give, as its request keeps it."""

    #: Types that are given, each whole or within the compartment.
    types: tuple[str, ...]
    #: Types beyond the compartment, given as far as what is in it refers to them.
    referred: tuple[str, ...] = ()
    #: Type -> queries, any of which its resources must match.
    filters: dict[str, tuple[str, ...]]
    since: str = ""
    elements: tuple[str, ...] = ()
    #: Patient, Group or empty for the system.
    level: str = ""
    group: str = ""
    #: Ids; None for all.
    patients: tuple[str, ...] | None = None

    @classmethod
    def read(cls, asked: dict[str, Any]) -> "Selection":
        """From what a request keeps."""
        return cls(
            types=tuple(asked["types"]),
            referred=tuple(asked["referred"]),
            filters={kind: tuple(queries) for kind, queries in asked["filters"].items()},
            since=asked["since"],
            elements=tuple(asked["elements"]),
            level=asked["level"],
            group=asked["group"],
            patients=None if asked["patients"] is None else tuple(asked["patients"]),
        )

    def parameters(self, query: str = "") -> list[tuple[str, str]]:
        """A filter with the time that is asked for."""
        since = [("_lastUpdated", f"ge{self.since}")] if self.since else []
        return [*url.parameters(query), *since]


def _asked(transaction: Transaction, call: Call) -> dict[str, Any]:
    definitions = transaction.definitions
    if call.one("_outputFormat", _FORMATS[0]) not in _FORMATS:
        raise BadRequest(f"_outputFormat is {_FORMATS[0]}.", expression="_outputFormat")
    if call.all("includeAssociatedData") and not call.lenient:
        raise BadRequest("includeAssociatedData is not known here: leave it out.", expression="includeAssociatedData")
    types, referred = _types(definitions, call)
    patients = _patients(transaction, call)
    return {
        "url": _url(call),
        "types": types,
        "referred": referred,
        "filters": _filters(transaction, call, types),
        "since": call.one("_since", ""),
        "elements": _listed(call, "_elements"),
        "level": call.resource_type,
        "group": call.id,
        "patients": patients,
    }


def _url(call: Call) -> str:
    place = "/".join(filter(None, (call.base_url, call.resource_type, call.id, "$export")))
    return f"{place}?{urlencode(call.query)}" if call.query else place


def _listed(call: Call, name: str) -> list[str]:
    return [part.strip() for value in call.all(name) for part in value.split(",") if part.strip()]


def _types(definitions: Definitions, call: Call) -> tuple[list[str], list[str]]:
    """The types, and those that are given only as far as the others refer to them."""
    asked = list(dict.fromkeys(_listed(call, "_type")))
    unknown = [kind for kind in asked if not definitions.is_resource(kind)]
    if unknown and not call.lenient:
        raise BadRequest(f"There is no resource type '{unknown[0][:64]}' in FHIR R4.", expression="_type")
    known = [kind for kind in asked if kind not in unknown]
    if not call.resource_type:
        return known or list(definitions.resource_types), []
    inside = {*definitions.compartment(COMPARTMENT), COMPARTMENT}
    types = [kind for kind in known or sorted(inside) if kind in inside]
    if not types:
        raise BadRequest(f"None of these types is in the compartment of a {COMPARTMENT}.", expression="_type")
    return types, [kind for kind in known if kind not in inside]


def _filters(transaction: Transaction, call: Call, types: Sequence[str]) -> dict[str, list[str]]:
    """Type -> its queries, each of which has been understood."""
    found: dict[str, list[str]] = {}
    for text in (part for value in call.all("_typeFilter") for part in _BETWEEN.split(value)):
        kind, mark, query = text.partition("?")
        names = {name.partition(":")[0] for name, _ in url.parameters(query)}
        if not mark or kind not in types:
            raise BadRequest(
                "A _typeFilter is a type that is exported, '?' and a search, e.g. Observation?status=final.",
                expression="_typeFilter",
            )
        if names & _RESULT_PARAMETERS:
            raise BadRequest(
                f"{min(names & _RESULT_PARAMETERS)} has no place in a _typeFilter.", expression="_typeFilter"
            )
        transaction.query(kind, url.parameters(query))
        found.setdefault(kind, []).append(query)
    return found


def _patients(transaction: Transaction, call: Call) -> list[str] | None:
    """Whose compartments; None for all. BadRequest for a Patient who is not there, or not in the Group."""
    asked = [str(one.get("reference", "")).removeprefix(f"{call.base_url}/") for one in call.all("patient")]
    if call.id:
        transaction.read_stored(call.resource_type, call.id)
    if not asked:
        return None
    ids = list(dict.fromkeys(text.removeprefix(f"{COMPARTMENT}/") for text in asked))
    there = {one.id for one in transaction.read_many([(COMPARTMENT, id) for id in ids])}
    if call.id:
        there &= set(members(transaction, call.id))
    missing = [id for id in ids if id not in there]
    if missing and not call.lenient:
        where = f"in Group/{call.id}" if call.id else "here"
        raise BadRequest(f"There is no {COMPARTMENT}/{missing[0][:64]} {where}.", expression="patient")
    return [id for id in ids if id in there]


def members(transaction: Transaction, group: str) -> list[str]:
    """Ids of the active Patients of a Group and of the Groups in it; NotFound for a Group that is not there."""
    return list(dict.fromkeys(_members(transaction, group, set())))


def _members(transaction: Transaction, group: str, seen: set[str]) -> Iterator[str]:
    seen.add(group)
    for member in transaction.read("Group", group).get("member", ()):
        kind, _, id = str(member.get("entity", {}).get("reference", "")).rpartition("/")
        kind = kind.rpartition("/")[2]
        if member.get("inactive") is True:
            continue
        if kind == COMPARTMENT:
            yield id
        elif kind == "Group" and id not in seen:
            try:
                yield from _members(transaction, id, seen)
            except NotFound:
                continue
