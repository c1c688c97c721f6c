"""From a resource to its index rows, by the expressions of its type's search parameters."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

from server.errors import Unprocessable
from server.fhir.definitions import Definitions, SearchParameter
from server.fhir.fhirpath import Collection, Expression, Node, compile_expression, resource_node
from server.search import date, number, position, quantity, reference, string, token, uri, words
from server.search.entry import Entry
from server.search.numbers import number as parameter_number

#: Answered from the resource's own row rather than from an index table.
OWN_COLUMNS = frozenset({"_id", "_lastUpdated"})
#: Special parameters that there is an index for.
SPECIAL = {"near": "position"}
#: Suffix of the rows of contained resources; in their ``item`` the upper bits say which one it is.
CONTAINED = "contained"
PLACE = 16
MOST_CONTAINED = 1000
#: By parameter type: what its entries add to the number.
_SUFFIXES: dict[str, tuple[str, ...]] = {
    "token": ("of-type", "identifier"),
    "reference": ("identifier", reference.CONTAINED),
    "quantity": (quantity.CANONICAL,),
}
Entries = Callable[[Node], Iterator[Entry]]
#: From a node, and the resource that it is in where it is not one itself, to what an expression gives.
Way = Callable[[Node, dict[str, Any] | None], Collection]


class Row(NamedTuple):
    """One row of an index table, but for the tenant and the resource's key."""

    kind: str
    parameter: int
    item: int
    values: tuple[Any, ...]


class _Component(NamedTuple):
    entries: Entries
    expression: Expression


@dataclass(frozen=True, kw_only=True, slots=True)
class _Indexed:
    """One search parameter, ready to be applied."""

    parameter: SearchParameter
    resource_type: str
    expression: Expression
    entries: Entries | None
    #: Properties of which a resource must have one for there to be any rows; None for not known.
    keys: frozenset[str] | None = None
    components: tuple[_Component, ...] = ()

    def number(self, suffix: str) -> int:
        return parameter_number(self.resource_type, self.parameter.code, suffix)


class _Work:
    """One resource that is being indexed."""

    __slots__ = ("components", "node", "resource", "rows", "within")

    def __init__(self, resource: dict[str, Any], within: str = "") -> None:
        self.resource = resource
        self.node = resource_node(resource)
        #: ``contained`` for a contained resource.
        self.within = within
        self.rows: list[Row] = []
        #: What a component gave of a value.
        self.components: dict[tuple[_Component, int], list[Entry]] = {}


def kind_of(parameter: SearchParameter) -> str | None:
    """Which index table serves a parameter: its type's, ``position``, or None where there is none."""
    if parameter.code in words.CODES:
        return "words"
    if not parameter.expression:
        return None
    if parameter.type == "special":
        return SPECIAL.get(parameter.code)
    return parameter.type


def searchable(definitions: Definitions, resource_type: str) -> dict[str, SearchParameter]:
    """The parameters that can be searched by, with those answered from the resource's own row."""
    return {code: found for code, found in indexed(definitions, resource_type).items() if not found.pending}


def indexed(definitions: Definitions, resource_type: str) -> dict[str, SearchParameter]:
    """The same with those whose index is being built: what is written meanwhile is entered for them too."""
    parameters = definitions.search_parameters(resource_type)
    return {code: found for code, found in parameters.items() if code in OWN_COLUMNS or kind_of(found)}


def numbers_of(definitions: Definitions, resource_type: str, parameter: SearchParameter) -> dict[int, str]:
    """Every number under which a parameter of a type may have rows, with the suffix that it stands for."""
    found = {}
    for own in _suffixes(definitions, parameter):
        for within in ("", CONTAINED):
            suffix = suffix_within(within, own)
            found[parameter_number(resource_type, parameter.code, suffix)] = suffix
    return found


def _suffixes(definitions: Definitions, parameter: SearchParameter) -> Iterator[str]:
    """What may stand behind a parameter's name in ``numbers.number``."""
    if parameter.type != "composite":
        yield from ("", *_SUFFIXES.get(parameter.type, ()))
        return
    for place, (url, _) in enumerate(parameter.components):
        kind = definitions.search_parameter_types[url]
        yield from (component_suffix(place, inner) for inner in ("", *_SUFFIXES.get(kind, ())))


class Indexer:
    """Makes the index rows of resources; compiled once for each resource type."""

    def __init__(self, definitions: Definitions, base_url: str = "") -> None:
        """``base_url``: absolute references below it are taken as local ones."""
        self._definitions = definitions
        self._entries: dict[str, Entries] = {
            "token": token.entries,
            "string": string.entries,
            "reference": lambda node: reference.entries(node, base_url),
            "date": date.entries,
            "number": number.entries,
            "quantity": quantity.entries,
            "uri": uri.entries,
            "position": position.entries,
        }
        self._compiled: dict[str, tuple[_Indexed, ...]] = {}
        #: By expression and path of what it is applied to.
        self._ways: dict[tuple[Expression, str], tuple[frozenset[str] | None, Way]] = {}

    def rows(self, resource: dict[str, Any]) -> Iterator[Row]:
        """Every index row of a resource, and of the resources that it contains."""
        contained = contained_in(resource)
        places = {f"#{inner.get('id')}": place for place, inner in contained}
        for row in self._own(resource):
            if row.kind == "reference" and row.values[0].startswith("#"):
                yield row._replace(item=places.get(row.values[0], 0))
            else:
                yield row
        for place, inner in contained:
            yield from self._contained(place, inner)

    def _own(self, resource: dict[str, Any]) -> list[Row]:
        work = _Work(resource)
        for indexed in self._parameters(resource["resourceType"]):
            if indexed.keys is None or not indexed.keys.isdisjoint(resource):
                self._add_rows(indexed, work)
        return work.rows

    def _contained(self, place: int, resource: dict[str, Any]) -> Iterator[Row]:
        """Rows of one contained resource: that it is there, and its parameters; ``item`` tells which one it is."""
        kind = resource["resourceType"]
        id = str(resource.get("id", ""))[:64]
        yield Row("token", parameter_number(kind, "", CONTAINED), place << PLACE, (None, id, None))
        work = _Work(resource, CONTAINED)
        for indexed in self._parameters(kind):
            if indexed.parameter.code not in words.CODES:
                self._add_rows(indexed, work)
        for row in work.rows:
            yield row._replace(item=(place << PLACE) + min(row.item, (1 << PLACE) - 1))

    def _parameters(self, resource_type: str) -> tuple[_Indexed, ...]:
        known = self._compiled.get(resource_type)
        if known is None:
            parameters = indexed(self._definitions, resource_type)
            kept = (found for code, found in parameters.items() if code not in OWN_COLUMNS)
            known = self._compiled[resource_type] = tuple(self._compile(resource_type, found) for found in kept)
        return known

    def _compile(self, resource_type: str, parameter: SearchParameter) -> _Indexed:
        types = self._definitions.search_parameter_types
        entries = self._entries.get(kind_of(parameter) or "")
        system = bound_system(self._definitions, parameter)
        if system:
            entries = partial(token.entries, system=system)
        return _Indexed(
            parameter=parameter,
            resource_type=resource_type,
            expression=compile_expression(parameter.expression or "{}"),
            entries=entries,
            keys=compile_expression(parameter.expression or "{}").keys(resource_type, self._definitions),
            components=tuple(
                _Component(entries=self._entries[types[url]], expression=compile_expression(expression))
                for url, expression in parameter.components
            ),
        )

    def _add_rows(self, indexed: _Indexed, work: _Work) -> None:
        if indexed.parameter.code in words.CODES:
            for entry in words.entries(indexed.parameter.code, work.resource):
                work.rows.append(Row(entry.kind, indexed.number(""), 0, entry.values))
            return
        nodes = self._nodes(indexed.expression, work.node, None)
        if indexed.components:
            for item, node in enumerate(nodes, 1):
                self._add_composite(indexed, node, item, work)
        elif indexed.entries:
            seen = set()
            for node in nodes:
                for entry in indexed.entries(node):
                    if entry not in seen:
                        seen.add(entry)
                        parameter = indexed.number(suffix_within(work.within, entry.suffix))
                        work.rows.append(Row(entry.kind, parameter, 0, entry.values))

    def _add_composite(self, indexed: _Indexed, node: Node, item: int, work: _Work) -> None:
        """The components of one composite value, tied by ``item``; none unless every component has a value."""
        for component in indexed.components:
            keys, _ = self._way(component.expression, node.path)
            if keys is not None and type(node.value) is dict and keys.isdisjoint(node.value):
                return
        found = []
        for place, component in enumerate(indexed.components):
            entries = self._component_entries(component, node, work)
            if not entries:
                return
            found += [(component_suffix(place, entry.suffix), entry) for entry in entries]
        for suffix, entry in found:
            parameter = indexed.number(suffix_within(work.within, suffix))
            work.rows.append(Row(entry.kind, parameter, item, entry.values))

    def _component_entries(self, component: _Component, node: Node, work: _Work) -> list[Entry]:
        """What a component gives of a value; composites share components, and a value is looked at once."""
        key = (component, id(node.value))
        known = work.components.get(key) if type(node.value) is dict else None
        if known is None:
            nodes = self._nodes(component.expression, node, work.resource)
            known = work.components[key] = [entry for each in nodes for entry in component.entries(each)]
        return known

    def _nodes(self, expression: Expression, node: Node, resource: dict[str, Any] | None) -> Sequence[Node]:
        _, way = self._way(expression, node.path)
        try:
            found = way(node, resource)
        except Unprocessable:
            # The data have a shape that the expression does not provide for: there is nothing to find it by.
            return ()
        return [item if type(item) is Node else Node(item, "", "") for item in found]

    def _way(self, expression: Expression, path: str) -> tuple[frozenset[str] | None, Way]:
        """See ``Expression.keys``; and by a walk where the expression is a mere path, else by evaluation."""
        known = self._ways.get((expression, path))
        if known is None:
            model = self._definitions.model
            way = _way(expression, expression.walk(path, model), model)
            known = self._ways[expression, path] = (expression.keys(path, model), way)
        return known


def _way(expression: Expression, walk: Callable[[Node], Collection] | None, model: Definitions) -> Way:
    def way(node: Node, resource: dict[str, Any] | None) -> Collection:
        if walk is not None and type(node.value) is dict:
            return walk(node)
        return expression.evaluate(node, context=None if resource is None else {"resource": resource}, model=model)

    return way


def bound_system(definitions: Definitions, parameter: SearchParameter) -> str | None:
    """The one code system that the codes of a token parameter come from, by the required binding of its element."""
    element = definitions.element(parameter.expression) if parameter.type == "token" else None
    if element is None or element.types != ("code",) or element.binding_strength != "required":
        return None
    systems = definitions.codes(element.value_set) or {}
    return next(iter(systems)) if len(systems) == 1 else None


def contained_in(resource: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """The contained resources with their places, from 1."""
    listed = resource.get("contained")
    if not isinstance(listed, list):
        return []
    sound = (
        one for one in listed[:MOST_CONTAINED] if isinstance(one, dict) and isinstance(one.get("resourceType"), str)
    )
    return list(enumerate(sound, 1))


@lru_cache(maxsize=1024)
def suffix_within(within: str, suffix: str) -> str:
    """The suffix of rows of contained resources, or of a resource itself."""
    return ".".join(part for part in (within, suffix) if part)


def component_suffix(place: int, inner: str) -> str:
    """The suffix of a composite's component: its place, and what its own type of parameter adds."""
    return f"{place}.{inner}" if inner else str(place)
