"""From one search parameter of a URL to a criterion: names, modifiers, chains and _has.

https://hl7.org/fhir/R4/search.html#modifiers, #chaining and #has. What is not understood is refused by name, with the
nearest known one.
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from server.errors import BadRequest, TooLarge, UnknownParameter
from server.fhir.definitions import Definitions, SearchParameter
from server.search import date, number, position, quantity, reference, string, token, uri, words
from server.search.bundled import BundledContent
from server.search.codes import StoredTerminology, Terminology
from server.search.index import component_suffix, kind_of, searchable
from server.search.query import (
    AnyOf,
    Chain,
    Composite,
    Criterion,
    Has,
    Hierarchy,
    Ids,
    LastUpdated,
    Missing,
    Operand,
    Values,
)
from server.search.reference import ID
from server.search.text import split, unescape

#: Values of one parameter, and links of one chain.
MOST_VALUES = 1000
LONGEST_CHAIN = 8
#: Characters of one parameter's name with its chain, and of one value.
LONGEST_NAME = 2000
LONGEST_VALUE = 8192
#: Criteria of one search, those within chains counted for every type that they may lead to.
MOST_CRITERIA = 400
MODIFIERS: dict[str, frozenset[str]] = {
    "token": token.MODIFIERS,
    "string": string.MODIFIERS,
    "reference": reference.MODIFIERS,
    "date": date.MODIFIERS,
    "number": number.MODIFIERS,
    "quantity": quantity.MODIFIERS,
    "uri": uri.MODIFIERS,
    "position": position.MODIFIERS,
    "words": words.MODIFIERS,
    "composite": frozenset(),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """Reads criteria under one set of definitions, at one moment."""

    definitions: Definitions
    now: datetime
    base_url: str = ""
    #: What knows value sets and hierarchies of codes; without one the standard's value sets are known.
    terminology: Terminology | None = None
    #: Runs out when a search asks for too much.
    budget: Iterator[int] = field(default_factory=lambda: iter(range(MOST_CRITERIA)), repr=False)

    def criterion(self, resource_type: str, name: str, value: str, depth: int = 0) -> Criterion | None:
        """The criterion of ``name=value``; None when the value is empty. BadRequest names what is wrong."""
        if depth > LONGEST_CHAIN or len(name) > LONGEST_NAME:
            raise TooLarge(f"A chain has at most {LONGEST_CHAIN} links.", expression=name[:100])
        self.spend(name)
        if name.startswith("_has:"):
            return self._has(resource_type, name, value, depth)
        own, _, chained = name.partition(".")
        code, _, modifier = own.partition(":")
        parameter = self.parameter(resource_type, code)
        if chained:
            return self._chain(parameter, resource_type, modifier, chained, value, depth)
        if parameter.code in words.CODES and not modifier:
            return words.criterion(resource_type, code, value) if value else None
        values = [part for part in split(value, ",") if part]
        if not values:
            return None
        if len(values) > MOST_VALUES:
            raise TooLarge(f"At most {MOST_VALUES} values are taken for one parameter.", expression=name)
        if max(map(len, values)) > LONGEST_VALUE:
            raise TooLarge(f"A value has at most {LONGEST_VALUE} characters.", expression=name)
        try:
            return self._own(parameter, resource_type, modifier, values)
        except UnknownParameter as error:
            raise UnknownParameter(error.details, expression=name) from error
        except BadRequest as error:
            raise BadRequest(f"{name}: {error.details}", expression=name) from error

    def spend(self, name: str) -> None:
        """Counts one criterion; TooLarge when there are too many."""
        if next(self.budget, None) is None:
            raise TooLarge(f"A search has at most {MOST_CRITERIA} criteria; name types in chains.", expression=name)

    def parameter(self, resource_type: str, code: str) -> SearchParameter:
        """The search parameter, or UnknownParameter that names the nearest known ones."""
        known = searchable(self.definitions, resource_type)
        found = known.get(code)
        if found is None:
            own = self.definitions.search_parameters(resource_type).get(code)
            if own is not None and own.pending:
                raise UnknownParameter(own.pending, expression=code)
            raise unknown(code, [*known, *_RESULT_NAMES], resource_type)
        return found

    def _own(self, parameter: SearchParameter, resource_type: str, modifier: str, values: list[str]) -> Criterion:
        if modifier == "missing":
            return self._missing(parameter, resource_type, values)
        if parameter.code == "_id":
            # What is no id is nobody's.
            ids = tuple(id for id in map(unescape, values) if ID.fullmatch(id))
            return Ids(ids=ids, negated=_only(modifier, "not") == "not")
        kind = kind_of(parameter) or parameter.type
        self._check_modifier(parameter, kind, modifier)
        if parameter.code == "_lastUpdated":
            return LastUpdated(operands=tuple(date.parse(value, self.now) for value in values))
        if kind == "composite":
            alternatives = tuple(self._components(parameter, value) for value in values)
            return Composite(resource_type=resource_type, code=parameter.code, alternatives=alternatives)
        if kind == "reference" and modifier in ("above", "below"):
            return self._hierarchy(parameter, resource_type, modifier == "above", values)
        operands = tuple(self.operand(kind, value, modifier, parameter.targets) for value in values)
        negated = modifier in ("not", "not-in")
        return Values(resource_types=(resource_type,), code=parameter.code, operands=operands, negated=negated)

    def _check_modifier(self, parameter: SearchParameter, kind: str, modifier: str) -> None:
        is_type = kind == "reference" and self.definitions.is_resource(modifier)
        if modifier and modifier not in MODIFIERS[kind] and not is_type:
            known = sorted(MODIFIERS[kind] | ({"missing"} if kind != "words" else set()))
            raise UnknownParameter(
                f"The modifier ':{modifier}' is not supported for '{parameter.code}' (a {parameter.type}); "
                f"supported: {', '.join(':' + name for name in known)}.",
                expression=f"{parameter.code}:{modifier}",
            )

    def operand(self, kind: str, value: str, modifier: str, targets: tuple[str, ...]) -> Operand:
        """One value as its parameter type reads it."""
        if kind == "reference":
            return self._reference(value, modifier, targets)
        if kind == "token" and modifier in _SUBSUMING:
            known = self.terminology or StoredTerminology(BundledContent(self.definitions))
            return token.parse_subsuming(value, modifier, known)
        parsed: dict[str, Any] = {
            "token": lambda: token.parse(value, modifier),
            "string": lambda: string.parse(value, modifier),
            "date": lambda: date.parse(value, self.now),
            "number": lambda: number.parse(value),
            "quantity": lambda: quantity.parse(value),
            "uri": lambda: uri.parse(value, modifier),
            "position": lambda: position.parse(value),
        }
        operand: Operand = parsed[kind]()
        return operand

    def _reference(self, value: str, modifier: str, targets: tuple[str, ...]) -> Operand:
        if modifier == "identifier":
            return replace(token.parse(value, ""), suffix="identifier")
        types = (modifier,) if modifier else targets or self.definitions.resource_types
        return reference.parse(value, types, self.base_url)

    def _hierarchy(self, parameter: SearchParameter, resource_type: str, above: bool, values: list[str]) -> Criterion:
        """:above and :below of a reference: by the hierarchy of what it points to, or by versions of a canonical."""
        parts: list[Criterion] = []
        canonicals = [value for value in values if ":" in value and not self._is_local(value)]
        if canonicals:
            operands = tuple(reference.parse_versions(value, above=above) for value in canonicals)
            parts.append(Values(resource_types=(resource_type,), code=parameter.code, operands=operands))
        for value in values:
            if value in canonicals:
                continue
            operand = reference.parse(value, parameter.targets or self.definitions.resource_types, self.base_url)
            for target in operand.targets:
                kind = target.partition("/")[0]
                parent = self._parent(kind)
                if parent is not None:
                    parts.append(Hierarchy(resource_type=resource_type, code=parameter.code, targets=(target,),
                                           target_type=kind, parent=parent, above=above))  # fmt: skip
        if not parts:
            raise BadRequest("What this refers to has no hierarchy of parts and wholes.")
        return parts[0] if len(parts) == 1 else AnyOf(criteria=tuple(parts))

    def _is_local(self, value: str) -> bool:
        found = reference.LITERAL.fullmatch(reference.target(unescape(value), self.base_url))
        return found is not None and found["base"] is None

    def _parent(self, resource_type: str) -> str | None:
        """The parameter by which a type's resources point to what they are a part of, of the same type."""
        wholes = {f"{resource_type}.{name}" for name in _WHOLES}
        for code, found in self.definitions.search_parameters(resource_type).items():
            if found.type == "reference" and found.expression in wholes and resource_type in found.targets:
                return code
        return None

    def _components(self, parameter: SearchParameter, value: str) -> tuple[Operand, ...]:
        parts = split(value, "$")
        if len(parts) != len(parameter.components):
            raise BadRequest(f"This composite wants {len(parameter.components)} values joined by '$'.")
        operands = []
        for place, (part, (url, _)) in enumerate(zip(parts, parameter.components, strict=True)):
            operand: Any = self.operand(self.definitions.search_parameter_types[url], part, "", ())
            operands.append(replace(operand, suffix=component_suffix(place, operand.suffix)))
        return tuple(operands)

    def _missing(self, parameter: SearchParameter, resource_type: str, values: list[str]) -> Criterion:
        if values not in (["true"], ["false"]):
            raise BadRequest("The modifier :missing wants true or false.")
        if parameter.code in ("_id", "_lastUpdated"):
            raise UnknownParameter("It is never missing.")
        kind = kind_of(parameter) or parameter.type
        places = [(kind, "")]
        if kind == "reference":
            places += [("token", "identifier"), (kind, reference.CONTAINED)]
        if kind == "composite":
            places = [(self.definitions.search_parameter_types[parameter.components[0][0]], "0")]
        return Missing(
            resource_types=(resource_type,), code=parameter.code, places=tuple(places), missing=values == ["true"]
        )

    def _chain(
        self, parameter: SearchParameter, resource_type: str, modifier: str, rest: str, value: str, depth: int
    ) -> Criterion | None:
        if parameter.type != "reference":
            raise BadRequest(
                f"Only a reference can be chained; '{parameter.code}' is of type {parameter.type}.",
                expression=parameter.code,
            )
        types = (modifier,) if modifier else parameter.targets or self.definitions.resource_types
        able = [name for name in types if self._leads_on(name, rest)]
        if not able:
            first = rest.partition(".")[0].partition(":")[0]
            known = {code for name in types for code in searchable(self.definitions, name)}
            raise unknown(first, sorted(known), " or ".join(types[:4]))
        inner = [(name, self.criterion(name, rest, value, depth + 1)) for name in able]
        targets = tuple((name, criterion) for name, criterion in inner if criterion is not None)
        return Chain(resource_type=resource_type, code=parameter.code, targets=targets) if targets else None

    def _leads_on(self, resource_type: str, rest: str) -> bool:
        """Whether a type has what comes next in a chain."""
        own, _, further = rest.partition(".")
        found = searchable(self.definitions, resource_type).get(own.partition(":")[0])
        return rest.startswith("_has:") or (found is not None and (not further or found.type == "reference"))

    def _has(self, resource_type: str, name: str, value: str, depth: int) -> Criterion | None:
        parts = name.split(":", 3)
        if len(parts) != 4 or not self.definitions.is_resource(parts[1]):
            raise BadRequest("Write _has:Type:reference:parameter=value.", expression=name)
        _, source_type, code, rest = parts
        if self.parameter(source_type, code).type != "reference":
            raise BadRequest(f"'{code}' of {source_type} is no reference.", expression=name)
        inner = self.criterion(source_type, rest, value, depth + 1)
        if inner is None:
            return None
        return Has(resource_type=resource_type, source_type=source_type, code=code, criterion=inner)


_RESULT_NAMES = (
    "_sort", "_count", "_include", "_revinclude", "_summary", "_elements", "_total", "_has",
    "_filter", "_list",
)  # fmt: skip
#: Modifiers of a token that ask a terminology.
_SUBSUMING = frozenset({"in", "not-in", "above", "below"})
#: Elements by which a resource names the whole that it is a part of.
_WHOLES = ("partOf", "parent", "parentDevice")


def _only(modifier: str, *known: str) -> str:
    if modifier and modifier not in known:
        names = ", ".join(f":{name}" for name in (*known, "missing"))
        raise UnknownParameter(f"The modifier ':{modifier}' is not supported here; supported: {names}.")
    return modifier


def unknown(name: str, known: list[str], resource_type: str) -> UnknownParameter:
    """The error for a name that is not known, with the nearest ones that are."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    cure = f"nearest: {', '.join(near)}" if near else "the CapabilityStatement lists those that are"
    return UnknownParameter(f"'{name}' is no search parameter of {resource_type}; {cure}.", expression=name)
