"""From a _filter to criteria: https://hl7.org/fhir/R4/search_filter.html#ops"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from server.errors import BadRequest, TooLarge, UnknownParameter
from server.fhir.definitions import SearchParameter
from server.search import filter as filters
from server.search import string, token
from server.search.criteria import LONGEST_CHAIN, LONGEST_VALUE, Reader
from server.search.index import kind_of
from server.search.query import AllOf, AnyOf, Chain, Criterion, Missing, Not, Operand, Values
from server.search.text import fold, storable

_ORDERED = ("eq", "ne", "gt", "lt", "ge", "le", "ap", "sa", "eb")
#: Index table -> operators that a filter may use, besides pr.
_OPERATORS: dict[str, tuple[str, ...]] = {
    "string": ("eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le"),
    "number": _ORDERED,
    "date": (*_ORDERED, "co", "po"),
    "quantity": _ORDERED,
    "token": ("eq", "ne", "in", "ni", "ss", "sb"),
    "reference": ("eq", "ne", "re"),
    "uri": ("eq", "ne"),
    "composite": ("eq",),
    "position": ("eq",),
}
_STRINGS = {"eq": "equal", "ne": "equal", "co": "contains", "sw": "starts", "ew": "ends"}
_SUBSUMING = {"in": "in", "ni": "not-in", "ss": "below", "sb": "above"}
#: Systems that a filter may call by these names.
_SYSTEMS = {
    "loinc": "http://loinc.org",
    "snomed": "http://snomed.info/sct",
    "rxnorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "ucum": "http://unitsofmeasure.org",
}


def filtered(reader: Reader, resource_type: str, text: str) -> Criterion:
    """The criterion that a _filter makes for one resource type."""
    return _criterion(reader, resource_type, filters.parse(text))


def _criterion(reader: Reader, resource_type: str, found: filters.Filter) -> Criterion:
    if isinstance(found, filters.Logical):
        both = (_criterion(reader, resource_type, found.left), _criterion(reader, resource_type, found.right))
        return AllOf(criteria=both) if found.operator == "and" else AnyOf(criteria=both)
    if isinstance(found, filters.Negated):
        return Not(criterion=_criterion(reader, resource_type, found.filter))
    return _path(reader, resource_type, found.path, found, 0)


def _path(
    reader: Reader, resource_type: str, path: tuple[filters.Step, ...], test: filters.Comparison, depth: int
) -> Criterion:
    step = path[0]
    reader.spend("_filter")
    parameter = reader.parameter(resource_type, step.name)
    if len(path) == 1:
        try:
            return _test(reader, parameter, resource_type, test)
        except UnknownParameter as error:
            raise UnknownParameter(error.details, expression="_filter") from error
        except BadRequest as error:
            raise BadRequest(f"_filter, {step.name}: {error.details}", expression="_filter") from error
    if parameter.type != "reference":
        raise BadRequest(f"_filter: '{step.name}' of {resource_type} is no reference.", expression="_filter")
    if depth >= LONGEST_CHAIN:
        raise TooLarge(f"A chain has at most {LONGEST_CHAIN} links.", expression="_filter")
    types = (step.type,) if step.type else parameter.targets or reader.definitions.resource_types
    targets = tuple(_able(types, lambda kind: _beyond(reader, kind, path, test, depth)))
    return Chain(resource_type=resource_type, code=parameter.code, targets=targets)


def _beyond(
    reader: Reader, kind: str, path: tuple[filters.Step, ...], test: filters.Comparison, depth: int
) -> Criterion:
    """What a resource at the end of a path's first step has to meet."""
    further = _path(reader, kind, path[1:], test, depth + 1)
    if path[0].condition is None:
        return further
    return AllOf(criteria=(_criterion(reader, kind, path[0].condition), further))


def _able(types: tuple[str, ...], criterion: Callable[[str], Criterion]) -> list[tuple[str, Criterion]]:
    """The types that know the parameters; the first one's error where none does."""
    found: list[tuple[str, Criterion]] = []
    errors: list[UnknownParameter] = []
    for kind in types:
        try:
            found.append((kind, criterion(kind)))
        except UnknownParameter as error:
            errors.append(error)
    if not found:
        raise errors[0]
    return found


def _test(reader: Reader, parameter: SearchParameter, resource_type: str, test: filters.Comparison) -> Criterion:
    kind = kind_of(parameter) or parameter.type
    if len(test.value) > LONGEST_VALUE:
        raise TooLarge(f"A value has at most {LONGEST_VALUE} characters.", expression="_filter")
    if test.operator == "pr":
        return _present(reader, resource_type, parameter.code, test.value)
    if test.operator not in _OPERATORS.get(kind, ()):
        known = ", ".join(("pr", *_OPERATORS.get(kind, ())))
        raise UnknownParameter(f"_filter: '{test.operator}' says nothing of '{parameter.code}' (a {parameter.type}); "
                               f"known: {known}.")  # fmt: skip
    if parameter.code in ("_id", "_lastUpdated") or kind in ("composite", "position"):
        return _plain(reader, resource_type, parameter.code, test)
    operand = _operand(reader, parameter, kind, test)
    return Values(
        resource_types=(resource_type,),
        code=parameter.code,
        operands=(operand,),
        negated=test.operator == "ni",
        unequal=test.operator == "ne" and kind in ("string", "token", "reference", "uri"),
    )


def _present(reader: Reader, resource_type: str, code: str, value: str) -> Criterion:
    if value not in ("true", "false"):
        raise BadRequest("The operator pr wants true or false.")
    found = reader.criterion(resource_type, f"{code}:missing", "false" if value == "true" else "true")
    if not isinstance(found, Missing):
        raise BadRequest("It is never missing.")
    return found


def _plain(reader: Reader, resource_type: str, code: str, test: filters.Comparison) -> Criterion:
    """As the parameter outside of a filter is read."""
    value = test.value.replace("\\", "\\\\").replace(",", "\\,")
    ordered = code == "_lastUpdated"
    operator = "ne" if code == "_id" and test.operator == "ne" else "eq"
    found = reader.criterion(resource_type, code, f"{test.operator}{value}" if ordered else value)
    if found is None:
        raise BadRequest("The value is empty.")
    return Not(criterion=found) if operator == "ne" else found


def _operand(reader: Reader, parameter: SearchParameter, kind: str, test: filters.Comparison) -> Operand:
    operator, value = test.operator, test.value
    if not value:
        raise BadRequest("The value is empty.")
    if kind == "string":
        how = _STRINGS.get(operator, operator)
        return string.Operand(how=how, text=fold(storable(value)))
    escaped = value.replace("\\", "\\\\").replace(",", "\\,").replace("$", "\\$")
    if kind == "token":
        system, bar, rest = escaped.partition("|")
        named = f"{_SYSTEMS[system]}{bar}{rest}" if bar and system in _SYSTEMS else escaped
        if operator in _SUBSUMING:
            return reader.operand(kind, named, _SUBSUMING[operator], ())
        return token.parse(named, "")
    if kind in ("reference", "uri"):
        return reader.operand(kind, escaped, "", parameter.targets)
    prefix = {"po": "ap", "co": "co"}.get(operator, operator)
    asked: Any = reader.operand(kind, f"{'eq' if operator in ('po', 'co') else prefix}{escaped}", "", ())
    compared: Operand = replace(asked, prefix=prefix)
    return compared
