"""$validate-code of CodeSystem and ValueSet: whether a code is one of them.

https://hl7.org/fhir/R4/codesystem-operation-validate-code.html, valueset-operation-validate-code.html
"""

from typing import Any

from server.errors import BadRequest
from server.operations.definition import Call, defined
from server.operations.operation import Operation
from server.operations.terminology_content import Coded, Held, answering, coded, parameters, refuse
from server.repository import Repository
from terminology.concept import Concept
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
    named = call.id or call.one("codeSystem") is not None or call.one("url")
    first = None if named else coded(call)[0]
    url = str(call.one("url", "")) or (first.system if first else "")
    system = held.named_system(call, url, str(call.one("version", "")) or (first.version if first else ""))
    own = system.header.url
    asked = coded(call, own)
    found = [(one, system.find(one.code)) for one in asked if one.system == own]
    return _verdict(call, found, f"{asked[0].code[:64]} is no code of {own}.")


def _in_value_set(held: Held, call: Call) -> dict[str, Any]:
    refuse(call, "date", "context")
    value_set = held.named_set(call)
    asked = coded(call, version="systemVersion")
    if any(not one.system for one in asked):
        raise BadRequest("A code needs its code system: system.", expression="system")
    found = []
    for one in asked:
        member = holds(value_set, held, one.system, one.code)
        found.append((one, member.concept if member else None))
    name = value_set.url or value_set.resource.get("id") or "the value set"
    return _verdict(call, found, f"{asked[0].system[:200]}|{asked[0].code[:64]} is not in {name}.")


def _verdict(call: Call, found: list[tuple[Coded, Concept | None]], otherwise: str) -> dict[str, Any]:
    """True where one of the codings holds; a display that is not the code's is a fault, and the right one is told."""
    known = [(asked, concept) for asked, concept in found if concept is not None]
    if not known:
        return parameters(("result", "Boolean", False), ("message", "String", otherwise))
    asked, concept = known[0]
    display = concept.shown(call.one("displayLanguage", ""))
    fault = ""
    if concept.abstract and not call.one("abstract", default=False):
        fault = f"{concept.code} only groups others; it is not to be chosen."
    elif asked.display and concept.display and not _is_display(concept, asked.display):
        fault = f"The display is not that of {concept.code}, which is '{display}'."
    message = fault or (f"{concept.code} is inactive: kept for what was coded before." if concept.inactive else "")
    return parameters(("result", "Boolean", not fault), ("message", "String", message), ("display", "String", display))


def _is_display(concept: Concept, display: str) -> bool:
    names = [concept.display, *(str(one.get("value", "")) for one in concept.designations)]
    return _plain(display) in map(_plain, names)


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())
