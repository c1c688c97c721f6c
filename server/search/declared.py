"""What a SearchParameter resource declares, or why it can't: https://hl7.org/fhir/R4/searchparameter.html

The facts are JSON: code, type, url, the expression by base, target types, and the parts of a composite.
"""

import re
from collections.abc import Iterator
from typing import Any

from server.errors import BadRequest, Issue, Unprocessable
from server.fhir.definitions import Definitions, SearchParameter
from server.fhir.fhirpath import compile_expression
from server.search.index import numbers_of
from server.search.numbers import number

#: Bases that stand for every type.
_ROOTS = ("Resource", "DomainResource")
_TEXTS = frozenset({"string", "markdown", "code", "id", "uri", "url", "canonical", "oid", "uuid"})
_ADDRESSES = frozenset({"uri", "url", "canonical", "oid", "uuid"})
_NUMBERS = frozenset({"integer", "decimal", "positiveInt", "unsignedInt"})
#: Search type -> FHIR types that it is for: https://hl7.org/fhir/R4/search.html#ptypes
FITTING: dict[str, frozenset[str]] = {
    "number": _NUMBERS,
    "date": frozenset({"date", "dateTime", "instant", "Period", "Timing"}),
    "string": _TEXTS | {"HumanName", "Address", "CodeableConcept", "Coding", "Identifier", "Annotation"},
    "token": _TEXTS | _NUMBERS | {"boolean", "Coding", "CodeableConcept", "Identifier", "ContactPoint"},
    "reference": _ADDRESSES | {"Reference", "Resource"},
    "quantity": frozenset(
        {"Quantity", "Age", "Count", "Distance", "Duration", "SimpleQuantity", "MoneyQuantity", "Money", "Range"}
    ),
    "uri": _ADDRESSES,
}
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_LEADING_TYPE = re.compile(r"\(*\s*([A-Z]\w*)")
#: Pieces of an expression that a bar or bracket may stand in without being one.
_TOKEN = re.compile(r"'(?:\\.|[^'\\])*'|`[^`]*`|[()\[\]|]", re.DOTALL)


def facts_of(definitions: Definitions, resource: dict[str, Any]) -> dict[str, Any] | None:
    """What is declared; None where nothing is: not active, or one of the standard's own. Unprocessable when it can't.

    ``definitions`` have the tenant's other parameters, whose codes are taken too.
    """
    known = {row["url"] for row in definitions.tables["search_parameter"].values()}
    if resource.get("status") != "active" or resource.get("url") in known:
        return None
    kind, code = str(resource.get("type")), str(resource.get("code"))
    _check_name(code, kind)
    components = [(str(part.get("definition")), str(part.get("expression"))) for part in resource.get("component", ())]
    facts = {
        "code": code,
        "type": kind,
        "url": resource.get("url", ""),
        "bases": _bases(definitions, resource, kind),
        "targets": sorted(resource.get("target", ())),
        "components": components,
    }
    _check_components(definitions, kind, components)
    _check_free(definitions, facts)
    return facts


def parameters_of(facts: dict[str, Any], pending: str = "") -> dict[str, SearchParameter]:
    """The parameter by each of its bases."""
    return {
        base: SearchParameter(
            base=base, code=facts["code"], type=facts["type"], url=facts["url"], expression=expression,
            targets=tuple(facts["targets"]), components=tuple((url, text) for url, text in facts["components"]),
            pending=pending,
        )
        for base, expression in facts["bases"].items()
    }  # fmt: skip


def types_of(definitions: Definitions, facts: dict[str, Any]) -> tuple[str, ...]:
    """The resource types that a declaration is about."""
    bases = set(facts["bases"])
    return tuple(name for name in definitions.resource_types if bases & set(definitions.ancestry(name)))


def numbers(definitions: Definitions, facts: dict[str, Any]) -> set[int]:
    """Every number under which a declaration may have rows; ``definitions`` know the parts of a composite."""
    one = next(iter(parameters_of(facts).values()))
    return {each for kind in types_of(definitions, facts) for each in numbers_of(definitions, kind, one)}


def alternatives(expression: str) -> Iterator[str]:
    """The operands of the outermost unions of an expression."""
    depth, start = 0, 0
    for found in _TOKEN.finditer(expression):
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(found.group(), 0)
        if found.group() == "|" and depth == 0:
            yield expression[start : found.start()].strip()
            start = found.end()
    yield expression[start:].strip()


def _check_name(code: str, kind: str) -> None:
    if not _CODE.fullmatch(code):
        raise _refused("code", "A search parameter's code is letters, digits and '-', beginning with a letter.")
    if kind not in FITTING and kind != "composite":
        raise _refused("type", f"Search parameters of type '{kind[:30]}' can't be declared here; use another type.")


def _bases(definitions: Definitions, resource: dict[str, Any], kind: str) -> dict[str, str]:
    """The part of the expression that each base is indexed by."""
    text = resource.get("expression")
    if not isinstance(text, str) or not text.strip():
        raise _refused("expression", "There is nothing to index by without an expression.")
    found = {}
    for base in resource.get("base", ()):
        if not definitions.is_resource(base) and base not in _ROOTS:
            raise _refused("base", f"There is no resource type '{str(base)[:64]}'.")
        found[base] = _narrowed(definitions, text, base, kind)
    return found


def _narrowed(definitions: Definitions, text: str, base: str, kind: str) -> str:
    able = set(definitions.ancestry(base))
    kept = [
        part
        for part in alternatives(text)
        if (lead := _LEADING_TYPE.match(part)) is None or lead[1] in able or lead[1] not in definitions.types
    ]
    if not kept:
        raise _refused("expression", f"No part of the expression is about {base}; it begins at other types.")
    narrowed = " | ".join(kept)
    try:
        types = compile_expression(narrowed).types(base, definitions.model)
    except BadRequest as error:
        raise _refused("expression", error.details) from error
    if kind in FITTING and types is not None and not types & FITTING[kind]:
        have, can = ", ".join(sorted(types)), ", ".join(sorted(FITTING[kind]))
        raise _refused("type", f"For {base} the expression gives {have}; a parameter of type {kind} is for {can}.")
    return narrowed


def _check_components(definitions: Definitions, kind: str, components: list[tuple[str, str]]) -> None:
    if (kind == "composite") != bool(components):
        raise _refused("component", "A composite has components, and no other type has.")
    for url, expression in components:
        if definitions.model.search_parameter_types.get(url) not in FITTING:
            raise _refused("component", f"A composite is made of the standard's parameters; '{url[:200]}' is none.")
        try:
            compile_expression(expression)
        except BadRequest as error:
            raise _refused("component", error.details) from error


def _check_free(definitions: Definitions, facts: dict[str, Any]) -> None:
    """That nothing else is searched by under the same name or indexed under the same number."""
    own, types = facts["code"], types_of(definitions, facts)
    for kind in types:
        other = definitions.search_parameters(kind).get(own)
        if other is not None:
            raise _refused("code", f"'{own}' of {kind} is {other.url or 'another parameter'}; choose another code.")
    numbers_taken = {
        number(kind, code) for kind in definitions.resource_types for code in definitions.search_parameters(kind)
    }
    if numbers_taken & {number(kind, own) for kind in types}:
        raise _refused("code", f"The code '{own}' collides with another one in the index; choose another code.")


def _refused(element: str, details: str) -> Unprocessable:
    place = f"SearchParameter.{element}"
    return Unprocessable(details, issues=(Issue(code="processing", details=details, expression=place),))
