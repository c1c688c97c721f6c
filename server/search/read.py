"""From the parameters of a URL to a Query: https://hl7.org/fhir/R4/search.html"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from server.errors import BadRequest, UnknownParameter
from server.fhir.definitions import Definitions
from server.search.codes import Terminology
from server.search.criteria import Reader
from server.search.cursor import CURSOR
from server.search.everywhere import everywhere
from server.search.filtered import filtered
from server.search.index import kind_of
from server.search.query import AllOf, AnyOf, Contains, Criterion, Has, Ids, Include, OfType, Query, Sort
from server.search.reference import ID
from server.search.text import split, unescape

Parameters = Sequence[tuple[str, str]]
DEFAULT_COUNT = 50
LARGEST_COUNT = 1000
#: Parameters that the edge has dealt with: the format of the answer is not the search's business.
_OF_THE_EDGE = frozenset({"_format", "_pretty"})
_CHOICES = {
    "_total": ("none", "estimate", "accurate"),
    "_summary": ("true", "text", "data", "count", "false"),
    "_contained": ("false", "true", "both"),
    "_containedType": ("container", "contained"),
}
#: How others call it, fhirpy among them: name -> what it is here, and what its values are.
_ALSO_CALLED = {"_totalMethod": ("_total", {"count": "accurate"})}
#: The resource type and parameter that _list looks at: https://hl7.org/fhir/R4/search.html#list
_LIST = ("List", "item")


@dataclass(kw_only=True)
class _Draft:
    """A query while it is being read."""

    #: Empty for all types.
    types: tuple[str, ...]
    criteria: list[Criterion] = field(default_factory=list)
    includes: list[Include] = field(default_factory=list)
    sort: tuple[Sort, ...] = ()
    count: int = DEFAULT_COUNT
    #: What was chosen of ``_CHOICES``.
    chosen: dict[str, str] = field(default_factory=dict)
    elements: tuple[str, ...] = ()
    cursor: str = ""
    used: list[tuple[str, str]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def read(
    definitions: Definitions,
    resource_type: str,
    parameters: Parameters,
    *,
    lenient: bool = False,
    base_url: str = "",
    now: datetime | None = None,
    terminology: Terminology | None = None,
) -> Query:
    """The query; raises UnknownParameter or BadRequest, or under ``lenient`` leaves out what is not understood.

    Without a resource type it goes over those that ``_type`` names, or over all.
    """
    reader = Reader(definitions=definitions, now=now or datetime.now(UTC), base_url=base_url, terminology=terminology)
    draft = _Draft(types=(resource_type,) if resource_type else _types(reader, parameters))
    for name, value in parameters:
        try:
            _take(draft, reader, name, value, named=bool(resource_type))
            if name != CURSOR and name not in _OF_THE_EDGE:
                draft.used.append((name, value))
        except UnknownParameter as error:
            if not lenient:
                raise
            draft.ignored.append(error.details)
    return _query(draft)


def _query(draft: _Draft) -> Query:
    """The draft as it is asked."""
    summary = draft.chosen.get("_summary", "false")
    if draft.includes and summary == "text":
        raise BadRequest("_summary=text can't be joined with _include or _revinclude.", expression="_summary")
    whole = Query(
        resource_types=draft.types,
        criteria=tuple(draft.criteria),
        sort=draft.sort,
        count=draft.count,
        total=draft.chosen.get("_total", "none"),
        includes=tuple(draft.includes),
        summary=summary,
        elements=draft.elements,
        cursor=draft.cursor,
        used=tuple(draft.used),
        ignored=tuple(draft.ignored),
    )
    return whole if draft.chosen.get("_contained", "false") == "false" else _contained(draft, whole)


def _contained(draft: _Draft, query: Query) -> Query:
    """The query over contained resources, alone or besides others: https://hl7.org/fhir/R4/search.html#contained"""
    if len(query.resource_types) != 1 or any(sort.kind for sort in query.sort):
        raise BadRequest(
            "_contained goes with a search for one type, sorted by _id or _lastUpdated at most.",
            expression="_contained",
        )
    contains = Contains(resource_type=query.resource_types[0], criteria=query.criteria)
    criteria: tuple[Criterion, ...] = (contains,)
    if draft.chosen["_contained"] == "both":
        itself = AllOf(criteria=(OfType(resource_types=query.resource_types), *query.criteria))
        criteria = (AnyOf(criteria=(itself, contains)),)
    inside = draft.chosen.get("_containedType") == "contained"
    return replace(query, resource_types=(), criteria=criteria, contained=contains if inside else None)


def _take(draft: _Draft, reader: Reader, name: str, value: str, *, named: bool) -> None:
    plain, _, modifier = name.partition(":")
    if name in _ALSO_CALLED:
        name, values = _ALSO_CALLED[name]
        value = values.get(value, value)
    if name in _OF_THE_EDGE or (name == "_type" and not named):
        return
    if plain in ("_include", "_revinclude"):
        draft.includes.append(_include(reader, plain, modifier, value))
    elif name == "_sort":
        draft.sort = tuple(_sort(reader, draft.types, key) for key in value.split(",") if key)
    elif name == "_count":
        draft.count = _count(value)
    elif name == "_elements":
        draft.elements = tuple(part.strip() for part in value.split(",") if part.strip())
    elif name in _CHOICES:
        if value not in _CHOICES[name]:
            raise BadRequest(f"{name} is one of {', '.join(_CHOICES[name])}.", expression=name)
        draft.chosen[name] = value
    elif name == CURSOR:
        draft.cursor = value
    else:
        criterion = _criterion(reader, draft.types, name, value)
        if criterion is not None:
            draft.criteria.append(criterion)


def _criterion(reader: Reader, types: tuple[str, ...], name: str, value: str) -> Criterion | None:
    """The criterion of a parameter that is about the resources looked for."""
    if name == "_list" and value:
        return _list(types, value)
    if name == "_filter" and value:
        if not types:
            raise UnknownParameter("_filter can't be asked of every type; name types by _type.", expression=name)
        parts = ((kind, filtered(reader, kind, value)) for kind in types)
        return _either([AllOf(criteria=(OfType(resource_types=(kind,)), part)) for kind, part in parts])
    return reader.criterion(types[0], name, value) if len(types) == 1 else everywhere(reader, types, name, value)


def _either(parts: list[Criterion]) -> Criterion:
    return parts[0] if len(parts) == 1 else AnyOf(criteria=tuple(parts))


def _list(types: tuple[str, ...], value: str) -> Criterion:
    """_list: what the entries of one of these lists refer to."""
    ids = tuple(unescape(part).removeprefix(f"{_LIST[0]}/") for part in split(value, ",") if part)
    for id in ids:
        if not ID.fullmatch(id):
            raise BadRequest("_list wants the id of a List; lists by function ($current-...) are not kept here.",
                             expression="_list")  # fmt: skip
    kind = types[0] if len(types) == 1 else ""
    return Has(resource_type=kind, source_type=_LIST[0], code=_LIST[1], criterion=Ids(ids=ids))


def _types(reader: Reader, parameters: Parameters) -> tuple[str, ...]:
    """The types that a search over several names: https://hl7.org/fhir/R4/search.html#all"""
    named = [part for name, value in parameters if name == "_type" for part in value.split(",") if part]
    for part in named:
        if not reader.definitions.is_resource(part):
            raise BadRequest(f"_type: there is no resource type '{part[:64]}'.", expression="_type")
    return tuple(dict.fromkeys(named))


def _count(value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 12:
        raise BadRequest("_count is a whole number of 0 or more.", expression="_count")
    return min(int(value), LARGEST_COUNT)


def _sort(reader: Reader, types: tuple[str, ...], key: str) -> Sort:
    code = key.removeprefix("-")
    kind, all_types = "", types or reader.definitions.resource_types
    if code not in ("_id", "_lastUpdated"):
        kinds = {kind_of(reader.parameter(resource_type, code)) or "" for resource_type in all_types}
        kind = next(iter(kinds))
        if len(kinds) > 1 or kind in ("composite", "position", "words"):
            raise BadRequest(f"'{code}' can't be sorted by: it has no order.", expression="_sort")
    return Sort(code=code, kind=kind, descending=key.startswith("-"), resource_types=all_types)


def _include(reader: Reader, name: str, modifier: str, value: str) -> Include:
    if modifier not in ("", "iterate", "recurse"):
        raise UnknownParameter(f"{name} knows the modifier :iterate only.", expression=f"{name}:{modifier}")
    source, _, rest = value.partition(":")
    code, _, target = rest.partition(":")
    definitions = reader.definitions
    if source == "*":
        source, code = "", "*"
    elif not definitions.is_resource(source) or not code:
        raise BadRequest(f"{name} is written Type:reference[:TargetType].", expression=name)
    if target and not definitions.is_resource(target):
        raise BadRequest(f"{name}: there is no resource type '{target}'.", expression=name)
    if code != "*" and reader.parameter(source, code).type != "reference":
        raise BadRequest(f"{name}: '{code}' of {source} is no reference.", expression=name)
    return Include(
        source_type=source,
        code=code,
        target_type=target,
        reverse=name == "_revinclude",
        iterate=modifier != "",
    )
