"""ValueSet/$expand: the codes of a value set. https://hl7.org/fhir/R4/valueset-operation-expand.html"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from server.errors import BadRequest, Unprocessable
from server.fhir import instants
from server.fhir.definitions import Definitions
from server.operations.definition import Call, defined
from server.operations.operation import Operation
from server.operations.terminology_content import Held, answering, refuse
from server.repository import Repository
from terminology.code_system import CodeSystem
from terminology.condition import Active, AnyCondition, Selectable, Words, every
from terminology.value_set import Definition, Expansion, Member, expand
from terminology.versions import fits
from terminology.words import asked

_CANONICAL = "http://hl7.org/fhir/OperationDefinition/ValueSet-expand"
_NOT_SERVED = ("context", "contextDirection", "date")
_TYPES = {bool: "Boolean", int: "Integer", str: "String"}
#: System, version and code.
_Place = tuple[str, str, str]
#: Parameters that an expansion does not repeat.
_UNTOLD = ("url", "valueSetVersion")


def served(definitions: Definitions) -> tuple[str, ...]:
    """The parameters of the definition that are looked at."""
    rows = definitions.operations[_CANONICAL]["parameters"]
    return tuple(one["name"] for one in rows if one["use"] == "in" and one["name"] not in _NOT_SERVED)


def operation(repository: Repository) -> Operation:
    """The operation over the terminology at hand."""
    return defined(repository, _CANONICAL, answering(repository, _expand))


class _Versions:
    """What is at hand, in the versions of code systems that a call asks for."""

    def __init__(self, held: Held, call: Call) -> None:
        self._held = held
        self._default, self._checked, self._forced = (
            dict(str(one).split("|", 1) for one in call.all(name) if "|" in str(one))
            for name in ("system-version", "check-system-version", "force-system-version")
        )

    def code_system(self, url: str, version: str = "") -> CodeSystem | None:
        """See ``terminology.value_set.Content``."""
        wanted = self._forced.get(url) or version or self._checked.get(url) or self._default.get(url, "")
        if (checked := self._checked.get(url)) and not fits(wanted, checked):
            raise Unprocessable(
                f"The value set takes version {wanted[:64]} of {url[:200]}, not {checked[:64]}.",
                expression="check-system-version",
            )
        return self._held.code_system(url, wanted)

    def value_set(self, url: str, version: str = "") -> Definition | None:
        """See ``terminology.value_set.Content``."""
        return self._held.value_set(url, version)


def _expand(held: Held, call: Call) -> dict[str, Any]:
    refuse(call, *_NOT_SERVED)
    offset, count = call.one("offset", 0), call.one("count")
    if offset < 0 or (count is not None and count < 0):
        raise BadRequest("offset and count are 0 at least.", expression="count")
    definition = held.named_set(call)
    found = expand(
        definition,
        _Versions(held, call),
        extra=_wanted(call),
        offset=offset,
        count=count,
        full=bool(call.one("includeDesignations") or call.all("designation") or call.one("displayLanguage")
                  or _nested(call)),
        without=frozenset(str(one).partition("|")[0] for one in call.all("exclude-system")),
    )  # fmt: skip
    expansion: dict[str, Any] = {
        "identifier": f"urn:uuid:{instants.new_id()}",
        "timestamp": instants.text(held.transaction.moment),
        "total": found.total,
        "offset": offset,
        "parameter": [*_parameters(call, found), *_supplements(held, found)],
        "contains": _arranged(call, found.members),
    }
    left_out = () if call.one("includeDefinition", default=False) else ("compose",)
    resource = {**definition.resource, "resourceType": "ValueSet"}
    kept = {name: value for name, value in resource.items() if name not in (*left_out, "expansion", "text")}
    return {**kept, "expansion": {name: value for name, value in expansion.items() if value != []}}


def _wanted(call: Call) -> AnyCondition:
    """What a code has to satisfy besides being in the value set."""
    text = str(call.one("filter", ""))
    words = tuple(dict.fromkeys(asked(text)))
    if text.strip() and not words:
        raise BadRequest("The filter has no letter and no digit to look for.", expression="filter")
    return every(
        *((Words(words),) if words else ()),
        *((Active(),) if call.one("activeOnly", default=False) else ()),
        *((Selectable(),) if call.one("excludeNotForUI", default=False) else ()),
    )


def _nested(call: Call) -> bool:
    """Whether codes are to stand within those above them: only where all codes are given."""
    return call.one("excludeNested") is False and not any(map(call.all, ("count", "offset", "filter")))


def _arranged(call: Call, members: Sequence[Member]) -> list[dict[str, Any]]:
    """The codes as a list, or each within the first of its parents that is there."""
    rows = {_place(one, one.concept.code): _contained(call, one) for one in members}
    if not _nested(call):
        return list(rows.values())
    above = {_place(one, one.concept.code): _parent(one, rows) for one in members}
    roots = []
    for place, row in rows.items():
        over = above[place]
        if over is None or _circular(place, above):
            roots.append(row)
        else:
            rows[over].setdefault("contains", []).append(row)
    return roots


def _place(one: Member, code: str) -> _Place:
    return one.system, one.version, code


def _parent(one: Member, rows: Mapping[_Place, Any]) -> _Place | None:
    return next((_place(one, code) for code in one.concept.parents if _place(one, code) in rows), None)


def _circular(place: _Place, above: Mapping[_Place, _Place | None]) -> bool:
    seen = {place}
    over = above[place]
    while over is not None and over not in seen:
        seen.add(over)
        over = above[over]
    return over == place


def _contained(call: Call, member: Member) -> dict[str, Any]:
    concept = member.concept
    found = {
        "system": member.system,
        "abstract": True if concept.abstract else None,
        "inactive": True if concept.inactive else None,
        "version": member.version,
        "code": concept.code,
        "display": concept.shown(call.one("displayLanguage", "")) if concept.display else "",
        "designation": list(_designations(call, concept.designations)),
    }
    return {name: value for name, value in found.items() if value not in (None, "", [])}


def _designations(call: Call, listed: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """All, or those of the languages and uses that are asked for (``urn:ietf:bcp:47|de``, ``system|code``, ``de``)."""
    wanted = {str(one).removeprefix("urn:ietf:bcp:47|") for one in call.all("designation")}
    if wanted or call.one("includeDesignations", default=False):
        for one in listed:
            use = one.get("use") or {}
            if not wanted or wanted & {str(one.get("language")), f"{use.get('system', '')}|{use.get('code', '')}"}:
                yield one


def _parameters(call: Call, found: Expansion) -> Iterator[dict[str, Any]]:
    """What the expansion was asked with, and the code systems that it was made from."""
    for name, values in call.arguments.items():
        for value in values:
            if type(value) in _TYPES and name not in _UNTOLD:
                yield {"name": name, f"value{_TYPES[type(value)]}": value}
    for system, version in found.used:
        yield {"name": "used-codesystem", "valueUri": f"{system}|{version}" if version else system}
        if version:
            yield {"name": "version", "valueUri": f"{system}|{version}"}


def _supplements(held: Held, found: Expansion) -> Iterator[dict[str, Any]]:
    for system, version in found.used:
        for canonical in held.supplements(system, version):
            yield {"name": "used-supplement", "valueUri": canonical}
