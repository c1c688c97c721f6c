"""ConceptMap/$translate: what stands for a code elsewhere.

https://hl7.org/fhir/R4/conceptmap-operation-translate.html
"""

from collections.abc import Iterator
from typing import Any

from server.errors import BadRequest
from server.fhir import json_format
from server.operations.definition import Call, defined
from server.operations.operation import Operation
from server.operations.terminology_content import Coded, Held, answering, coded, escaped, parameters, parts
from server.repository import Repository
from terminology.concept_map import NO_MATCH, Translation, translations

_CANONICAL = "http://hl7.org/fhir/OperationDefinition/ConceptMap-translate"
#: Maps that are asked where the call names none.
_MOST_MAPS = "100"


def operation(repository: Repository) -> Operation:
    """The operation over the concept maps that are stored."""
    return defined(repository, _CANONICAL, answering(repository, _translate))


def _translate(held: Held, call: Call) -> dict[str, Any]:
    asked = coded(call)
    if any(not one.system for one in asked):
        raise BadRequest("A code needs its code system: system.", expression="system")
    found = [
        (concept_map, one)
        for code in asked
        for concept_map in _maps(held, call, code)
        for one in translations(
            concept_map,
            code.system,
            code.code,
            target_system=str(call.one("targetsystem", "")),
            reverse=call.one("reverse", default=False),
            dependencies=dict(_dependencies(call)),
        )
    ]
    result = any(one.equivalence not in NO_MATCH for _, one in found)
    message = "" if found else f"No map at hand translates {asked[0].system[:200]}|{asked[0].code[:64]}."
    return parameters(
        ("result", "Boolean", result),
        ("message", "String", message),
        *(("match", "part", list(_match(one, str(concept_map.get("url", ""))))) for concept_map, one in found),
    )


def _maps(held: Held, call: Call, code: Coded) -> Iterator[dict[str, Any]]:
    """The map that the call names, or those that lead from the code's system."""
    if call.id or call.all("url") or call.all("conceptMap"):
        listed = [held.named(call, given="conceptMap", version="conceptMapVersion")]
    else:
        name = "target-system" if call.one("reverse", default=False) else "source-system"
        result = held.transaction.search(call.resource_type, [(name, escaped(code.system)), ("_count", _MOST_MAPS)])
        listed = [json_format.parse(one.body) for one in result.matches]
    for one in listed:
        if all(
            str(call.one(side)) in (one.get(f"{side}Uri"), one.get(f"{side}Canonical"))
            for side in ("source", "target")
            if call.all(side)
        ):
            yield one


def _dependencies(call: Call) -> Iterator[tuple[str, str]]:
    for one in call.all("dependency"):
        concept: Any = next(iter(one.get("concept", ())), {})
        codings = concept.get("coding", ()) if isinstance(concept, dict) else ()
        for element in one.get("element", ()):
            yield str(element), str(next((coding.get("code", "") for coding in codings), ""))


def _match(one: Translation, url: str) -> Iterator[dict[str, Any]]:
    coding = {"system": one.system, "code": one.code, "display": one.display}
    yield from parts(
        ("equivalence", "Code", one.equivalence),
        ("concept", "Coding", {name: value for name, value in coding.items() if value} if one.code else None),
    )
    for product in one.products:
        value = {"system": product.get("system"), "code": product.get("value"), "display": product.get("display")}
        inner = parts(
            ("element", "Uri", product.get("property")),
            ("concept", "Coding", {name: text for name, text in value.items() if text}),
        )
        yield {"name": "product", "part": list(inner)}
    yield from parts(("source", "Uri", url))
