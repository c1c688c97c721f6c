"""The standard's definitions, read once from the generated fact tables under fhir_profiles/base.

What a resource type can do comes from here and never from code that names the type. The tables are made by
fhir_profiles/base/generate.py from the standard's own packages (FHIR R4, 4.0.1).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from importlib import resources
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Element:
    """One element of a type, as its ElementDefinition has it: https://hl7.org/fhir/R4/elementdefinition.html"""

    path: str
    min: int
    #: "*" or a count.
    max: str
    types: tuple[str, ...] = ()
    #: Resource types that a Reference (or canonical) may point to; empty means any.
    targets: tuple[str, ...] = ()
    #: Path under which the children stand that are defined in place, here or where a contentReference points to.
    content_path: str = ""
    binding_strength: str = ""
    value_set: str = ""
    summary: bool = False
    modifier: bool = False

    @property
    def name(self) -> str:
        """The last step of the path, without the mark of a choice."""
        return self.path.rpartition(".")[2].removesuffix("[x]")

    @property
    def choice(self) -> bool:
        """Whether the JSON name carries the type (value[x] -> valueQuantity)."""
        return self.path.endswith("[x]")

    @property
    def many(self) -> bool:
        """Whether JSON holds it as an array."""
        return self.max not in ("0", "1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Property:
    """One JSON property of a type: an element together with the type that this spelling of it has."""

    element: Element
    type: str
    #: Where the children of the value are defined: a type's name, or a path for elements defined in place.
    children: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TypeDefinition:
    """One type of the standard."""

    name: str
    #: resource, complex-type or primitive-type.
    kind: str
    base: str = ""
    abstract: bool = False
    #: For primitives: what the text of a value has to look like.
    regex: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Constraint:
    """One invariant: https://hl7.org/fhir/R4/conformance-rules.html#constraints"""

    path: str
    key: str
    severity: str
    expression: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchParameter:
    """One search parameter as it holds for one resource type: https://hl7.org/fhir/R4/searchparameter.html"""

    base: str
    code: str
    #: number, date, string, token, reference, composite, quantity, uri or special.
    type: str
    url: str
    expression: str = ""
    targets: tuple[str, ...] = ()
    #: Of a composite: (canonical of the component's parameter, expression within the composite's value).
    components: tuple[tuple[str, str], ...] = ()
    #: Of one that is not the standard's: why it can't be searched by yet; empty when it can.
    pending: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Definitions:
    """All definitions of one edition of FHIR; hashable by identity, so that expressions can be compiled for it."""

    version: str
    tables: Mapping[str, Mapping[str, Any]] = field(repr=False)
    #: Search parameters besides the standard's: base -> code -> parameter.
    added: Mapping[str, Mapping[str, SearchParameter]] = field(default_factory=dict, repr=False)
    #: What expressions are compiled for; None where these are the standard's own.
    standard: "Definitions | None" = field(default=None, repr=False)

    @property
    def model(self) -> "Definitions":
        """The standard's own definitions: types and elements are the same, and so expressions are compiled once."""
        return self.standard or self

    def with_parameters(self, added: Mapping[str, Mapping[str, SearchParameter]]) -> "Definitions":
        """The same definitions with other search parameters besides the standard's."""
        other = replace(self.model, added=added, standard=self.model)
        # What was computed of the tables is shared, but for what the parameters are part of.
        known = {name: value for name, value in vars(self.model).items() if name not in _OF_PARAMETERS}
        vars(other).update({name: value for name, value in known.items() if name not in vars(other)})
        return other

    @cached_property
    def types(self) -> dict[str, TypeDefinition]:
        """Every type by name."""
        return {
            name: TypeDefinition(
                name=name,
                kind=row["kind"],
                base=row.get("base", ""),
                abstract=bool(row.get("abstract")),
                regex=row.get("regex", ""),
            )
            for name, row in self.tables["type"].items()
        }

    @cached_property
    def resource_types(self) -> tuple[str, ...]:
        """Names of the resource types that there can be instances of, sorted."""
        return tuple(sorted(t.name for t in self.types.values() if t.kind == "resource" and not t.abstract))

    @cached_property
    def _resource_type_set(self) -> frozenset[str]:
        return frozenset(self.resource_types)

    def is_resource(self, name: str) -> bool:
        """Whether there can be instances of the resource type ``name``."""
        return name in self._resource_type_set

    @cached_property
    def _ancestry(self) -> dict[str, tuple[str, ...]]:
        return {}

    def ancestry(self, name: str) -> tuple[str, ...]:
        """The type and those it is derived from, nearest first."""
        known = self._ancestry.get(name)
        if known is None:
            definition = self.types.get(name)
            base = definition.base if definition else ""
            known = (name, *(self.ancestry(base) if base else ())) if name else ()
            if definition:
                self._ancestry[name] = known
        return known

    def supertype(self, name: str) -> str | None:
        """The type that this one specialises; None at the root or for an unknown one."""
        definition = self.types.get(name)
        return definition.base or None if definition else None

    @cached_property
    def _elements(self) -> dict[str, Element]:
        rows = self.tables["element"]
        parents = {path.rpartition(".")[0] for path in rows}
        return {path: _element(path, row, rows, parents) for path, row in rows.items()}

    @cached_property
    def _elements_below(self) -> dict[str, tuple[Element, ...]]:
        below: dict[str, list[Element]] = {}
        for element in self._elements.values():
            below.setdefault(element.path.rpartition(".")[0], []).append(element)
        return {path: tuple(elements) for path, elements in below.items()}

    def element(self, path: str) -> Element | None:
        """The element defined at a path, e.g. ``Observation.value[x]``."""
        return self._elements.get(path)

    def children(self, path: str) -> tuple[Element, ...]:
        """The elements directly below a type or an in-place element, inherited ones first, in the standard's order."""
        own = self._elements_below.get(path, ())
        if path in self.types:
            base = self.types[path].base
            return (*self.children(base), *own) if base else own
        element = self._elements.get(path)
        return (*self.children(element.types[0]), *own) if element and element.content_path else ()

    @cached_property
    def _by_name(self) -> dict[str, dict[str, Element] | None]:
        return {}

    def elements(self, path: str) -> dict[str, Element] | None:
        """The children of a path by FHIRPath name; None for a path that is not defined."""
        if path not in self._by_name:
            found = {element.name: element for element in self.children(path)}
            self._by_name[path] = found if found or path in self.types else None
        return self._by_name[path]

    @cached_property
    def _properties(self) -> dict[str, dict[str, Property]]:
        return {}

    def properties(self, path: str) -> dict[str, Property]:
        """JSON property name -> what it is, for a type or an in-place element; computed once for each path."""
        known = self._properties.get(path)
        if known is None:
            known = {name: found for element in self.children(path) for name, found in _spellings(element)}
            self._properties[path] = known
        return known

    @cached_property
    def constraints(self) -> dict[str, tuple[Constraint, ...]]:
        """Invariants by the path at which they are stated."""
        stated: dict[str, list[Constraint]] = {}
        for place, row in self.tables["constraint"].items():
            path, _, key = place.partition("#")
            stated.setdefault(path, []).append(Constraint(path=path, key=key, **row))
        return {path: tuple(found) for path, found in stated.items()}

    @cached_property
    def _search_parameters(self) -> dict[str, dict[str, SearchParameter]]:
        by_base: dict[str, dict[str, SearchParameter]] = {}
        for place, row in self.tables["search_parameter"].items():
            base, _, code = place.partition(".")
            by_base.setdefault(base, {})[code] = _search_parameter(base, code, row)
        return by_base

    @cached_property
    def _search_parameters_of(self) -> dict[str, dict[str, SearchParameter]]:
        return {}

    def search_parameters(self, resource_type: str) -> dict[str, SearchParameter]:
        """Code -> parameter for one resource type, those of Resource and DomainResource among them."""
        known = self._search_parameters_of.get(resource_type)
        if known is None:
            merged: dict[str, SearchParameter] = {}
            for base in reversed(list(self.ancestry(resource_type))):
                merged.update(self._search_parameters.get(base, {}))
                merged.update(self.added.get(base, {}))
            known = self._search_parameters_of[resource_type] = merged
        return known

    @cached_property
    def search_parameter_types(self) -> dict[str, str]:
        """Canonical of a search parameter -> its type; what a composite's components are looked up by."""
        own = {found.url: found.type for codes in self.added.values() for found in codes.values()}
        return {row["url"]: row["type"] for row in self.tables["search_parameter"].values()} | own

    def compartment(self, name: str) -> dict[str, tuple[str, ...]]:
        """Resource type -> search parameters that put a resource into a compartment (Patient, Encounter, ...)."""
        return {kind: tuple(codes) for kind, codes in self.tables["compartment"].get(name, {}).items()}

    def codes(self, value_set: str) -> dict[str, frozenset[str]] | None:
        """System -> codes of a value set with a required binding; None if its codes are not in the tables."""
        row = self.tables["value_set"].get(value_set)
        return None if row is None else {system: frozenset(codes) for system, codes in row.items()}

    @property
    def operations(self) -> Mapping[str, Any]:
        """Canonical -> code, levels, resource types and parameters of the standard's operations."""
        return self.tables["operation"]


#: Computed properties that hold search parameters.
_OF_PARAMETERS = frozenset({"_search_parameters_of", "search_parameter_types"})


def _spellings(element: Element) -> Iterator[tuple[str, Property]]:
    for kind in element.types:
        name = element.name + kind[0].upper() + kind[1:] if element.choice else element.name
        yield name, Property(element=element, type=kind, children=element.content_path or kind)


def _element(path: str, row: Mapping[str, Any], rows: Mapping[str, Any], parents: set[str]) -> Element:
    strength, value_set = row.get("binding", ("", ""))
    content = row.get("content", "")
    return Element(
        path=path,
        min=row["min"],
        max=row["max"],
        types=tuple((rows[content] if content else row).get("types", ())),
        targets=tuple(row.get("targets", ())),
        content_path=content or (path if path in parents else ""),
        binding_strength=strength,
        value_set=value_set,
        summary=bool(row.get("summary")),
        modifier=bool(row.get("modifier")),
    )


def _search_parameter(base: str, code: str, row: Mapping[str, Any]) -> SearchParameter:
    return SearchParameter(
        base=base,
        code=code,
        type=row["type"],
        url=row["url"],
        expression=row.get("expression", ""),
        targets=tuple(row.get("targets", ())),
        components=tuple((url, expression) for url, expression in row.get("components", ())),
    )


TABLES = ("type", "element", "constraint", "search_parameter", "compartment", "operation", "value_set")
#: The editions that there are tables for, and the version that each is.
EDITIONS = {"r4": "4.0.1"}


@lru_cache(maxsize=len(EDITIONS))
def load(edition: str = "r4") -> Definitions:
    """The definitions of an edition, read on first use (about 30 ms) and shared afterwards."""
    folder = resources.files("fhir_profiles") / "base" / edition
    tables = {name: json.loads((folder / f"{name}_table.json").read_text(encoding="utf-8")) for name in TABLES}
    # What implementation guides and the house define besides, by the same columns.
    guides = folder / "guide_operation_table.json"
    tables["operation"] |= json.loads(guides.read_text(encoding="utf-8"))
    return Definitions(version=EDITIONS[edition], tables=tables)
