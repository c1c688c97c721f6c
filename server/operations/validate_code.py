"""$validate-code of CodeSystem and ValueSet: whether a code is one of them.

https://hl7.org/fhir/R4/codesystem-operation-validate-code.html, valueset-operation-validate-code.html
"""

from typing import Any

from server.errors import BadRequest, NotFound
from server.operations.definition import Call, defined
from server.operations.operation import Operation
from server.operations.terminology_content import Coded, Held, answering, coded, parameters, refuse
from server.repository import Repository
from terminology.code_system import CodeSystem, Concept
from terminology.value_set import holds

_BASE = "http://hl7.org/fhir/OperationDefinition/"


def operations(repository: Repository) -> tuple[Operation, ...]:
    """Both, over the terminology at hand."""
    return (
        defined(repository, f"{_BASE}CodeSystem-validate-code", answering(repository, _in_code_system)),
        defined(repository, f"{_BASE}ValueSet-validate-code", answering(repository, _in_value_set)),
    )


def _in_code_system(held: Held, call: Call) -> dict[str, Any]:
    refuse(call, "date")
    system = _system(held, call)
    asked = coded(call, system.url)
    found = [(one, system.find(one.code)) for one in asked if one.system == system.url]
    return _verdict(call, found, f"{asked[0].code[:64]} is no code of {system.url}.")


def _system(held: Held, call: Call) -> CodeSystem:
    if call.id or call.one("codeSystem") is not None:
        return CodeSystem.of_resource(held.named(call, given="codeSystem"))
    codings = coded(call)
    url = str(call.one("url", "")) or codings[0].system
    if not url:
        raise BadRequest("Say which CodeSystem is meant: url or codeSystem.", expression="url")
    found = held.code_system(url, str(call.one("version", "")))
    if found is None:
        raise NotFound(f"There is no code system {url[:200]} here.", expression="url")
    return found


def _in_value_set(held: Held, call: Call) -> dict[str, Any]:
    refuse(call, "date", "context")
    value_set = held.named(call, given="valueSet", version="valueSetVersion")
    asked = coded(call, version="systemVersion")
    if any(not one.system for one in asked):
        raise BadRequest("A code needs its code system: system.", expression="system")
    found = []
    for one in asked:
        member = holds(value_set, held, one.system, one.code)
        found.append((one, member.concept if member else None))
    name = value_set.get("url") or value_set.get("id") or "the value set"
    return _verdict(call, found, f"{asked[0].system[:200]}|{asked[0].code[:64]} is not in {name}.")


def _verdict(call: Call, found: list[tuple[Coded, Concept | None]], otherwise: str) -> dict[str, Any]:
    """True where one of the codings holds; a display that is not the code's is a fault, and the right one is told."""
    known = [(asked, concept) for asked, concept in found if concept is not None]
    if not known:
        return parameters(("result", "Boolean", False), ("message", "String", otherwise))
    asked, concept = known[0]
    display = concept.shown(call.one("displayLanguage", ""))
    message = ""
    if concept.abstract and not call.one("abstract", default=False):
        message = f"{concept.code} only groups others; it is not to be chosen."
    elif asked.display and concept.display and not _is_display(concept, asked.display):
        message = f"The display is not that of {concept.code}."
    return parameters(
        ("result", "Boolean", not message), ("message", "String", message), ("display", "String", display)
    )


def _is_display(concept: Concept, display: str) -> bool:
    names = [concept.display, *(str(one.get("value", "")) for one in concept.designations)]
    return display.casefold() in {name.casefold() for name in names}
