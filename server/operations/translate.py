"""ConceptMap/$translate: what stands for a code elsewhere.

https://hl7.org/fhir/R4/conceptmap-operation-translate.html
"""

from collections.abc import Iterator
from typing import Any

from server.errors import BadRequest
from server.operations.definition import Call, defined
from server.operations.operation import Operation
from server.operations.terminology_content import Coded, Held, answering, coded, escaped, parameters, parts
from server.repository import Repository
from terminology.concept_map import NO_MATCH, Elements, Translation, translations
from terminology.errors import TerminologyError

_CANONICAL = "http://hl7.org/fhir/OperationDefinition/ConceptMap-translate"
#: Maps that are asked where the call names none.
_MOST_MAPS = "100"
#: Maps that hand over what they do not map.
_DEEPEST = 10


def operation(repository: Repository) -> Operation:
    """The operation over the concept maps that are stored."""
    return defined(repository, _CANONICAL, answering(repository, _translate))


def _translate(held: Held, call: Call) -> dict[str, Any]:
    asked = coded(call)
    if any(not one.system for one in asked):
        raise BadRequest("A code needs its code system: system.", expression="system")
    found = [
        (str(one.resource.get("url", "")), translation)
        for code in asked
        for one in _maps(held, call, code)
        for translation in _translations(held, call, code, one, 0)
    ]
    result = any(one.equivalence not in NO_MATCH for _, one in found)
    message = "" if found else f"No map at hand translates {asked[0].system[:200]}|{asked[0].code[:64]}."
    return parameters(
        ("result", "Boolean", result),
        ("message", "String", message),
        *(("match", "part", list(_match(one, url))) for url, one in found),
    )


def _translations(held: Held, call: Call, code: Coded, one: Elements, depth: int) -> Iterator[Translation]:
    reverse = bool(call.one("reverse", default=False))

    def other(canonical: str) -> Iterator[Translation]:
        url, _, version = canonical.partition("|")
        if depth > _DEEPEST:
            raise TerminologyError(f"The concept maps lead on more than {_DEEPEST} times.")
        for further in held.at_hand.concept_maps(url, version):
            yield from _translations(held, call, code, further, depth + 1)

    return translations(
        one.of_code(code.code, reverse=reverse),
        code.system,
        code.code,
        target_system=str(call.one("targetsystem", "")),
        reverse=reverse,
        dependencies=dict(_dependencies(call)),
        other=other,
    )


def _maps(held: Held, call: Call, code: Coded) -> Iterator[Elements]:
    """The map that the call names, or those that lead from the code's system."""
    if call.id or call.all("url") or call.all("conceptMap"):
        listed = [held.named_map(call)]
    else:
        name = "target-system" if call.one("reverse", default=False) else "source-system"
        query = [(name, escaped(code.system)), ("_count", _MOST_MAPS), ("_elements", "id")]
        matches = held.transaction.search(call.resource_type, query).matches
        listed = [held.at_hand.kept("ConceptMap", one.id, one.version, Elements) for one in matches]
        listed += held.at_hand.loaded_maps()
    for one in listed:
        if all(
            str(call.one(side)) in (one.resource.get(f"{side}Uri"), one.resource.get(f"{side}Canonical"))
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
