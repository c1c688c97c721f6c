"""ValueSet/$expand: the codes of a value set. https://hl7.org/fhir/R4/valueset-operation-expand.html"""

from collections.abc import Iterator
from typing import Any

from server.errors import BadRequest
from server.fhir import instants
from server.operations.definition import Call, defined
from server.operations.operation import Operation
from server.operations.terminology_content import Held, answering, refuse
from server.repository import Repository
from terminology.value_set import Member, members

_CANONICAL = "http://hl7.org/fhir/OperationDefinition/ValueSet-expand"
_NOT_SERVED = (
    "context", "contextDirection", "date", "designation", "system-version", "check-system-version",
    "force-system-version",
)  # fmt: skip
_TYPES = {bool: "Boolean", int: "Integer", str: "String"}


def operation(repository: Repository) -> Operation:
    """The operation over the terminology at hand."""
    return defined(repository, _CANONICAL, answering(repository, _expand))


def _expand(held: Held, call: Call) -> dict[str, Any]:
    refuse(call, *_NOT_SERVED)
    offset, count = call.one("offset", 0), call.one("count")
    if offset < 0 or (count is not None and count < 0):
        raise BadRequest("offset and count are 0 at least.", expression="count")
    value_set = held.named(call, given="valueSet", version="valueSetVersion")
    found = [one for one in members(value_set, held) if _wanted(call, one)]
    shown = found[offset:] if count is None else found[offset : offset + count]
    expansion: dict[str, Any] = {
        "identifier": f"urn:uuid:{instants.new_id()}",
        "timestamp": instants.text(held.transaction.moment),
        "total": len(found),
        "offset": offset,
        "parameter": list(_parameters(call)),
        "contains": [_contained(call, one) for one in shown],
    }
    left_out = () if call.one("includeDefinition", default=False) else ("compose",)
    kept = {name: value for name, value in value_set.items() if name not in (*left_out, "expansion", "text")}
    return {**kept, "expansion": {name: value for name, value in expansion.items() if value != []}}


def _wanted(call: Call, member: Member) -> bool:
    concept = member.concept
    if call.one("activeOnly", default=False) and concept.inactive:
        return False
    if call.one("excludeNotForUI", default=False) and concept.abstract:
        return False
    if any(str(one).partition("|")[0] == member.system for one in call.all("exclude-system")):
        return False
    words = str(call.one("filter", "")).casefold().split()
    names = (concept.code, concept.display, *(str(one.get("value", "")) for one in concept.designations))
    return not words or any(all(word in name.casefold() for word in words) for name in names)


def _contained(call: Call, member: Member) -> dict[str, Any]:
    concept = member.concept
    found = {
        "system": member.system,
        "abstract": True if concept.abstract else None,
        "inactive": True if concept.inactive else None,
        "version": member.version,
        "code": concept.code,
        "display": concept.shown(call.one("displayLanguage", "")) if concept.display else "",
        "designation": list(concept.designations) if call.one("includeDesignations", default=False) else [],
    }
    return {name: value for name, value in found.items() if value not in (None, "", [])}


def _parameters(call: Call) -> Iterator[dict[str, Any]]:
    """What the expansion was asked with."""
    for name, values in call.arguments.items():
        for value in values:
            if type(value) in _TYPES and name not in ("url", "valueSetVersion"):
                yield {"name": name, f"value{_TYPES[type(value)]}": value}
