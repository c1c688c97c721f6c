"""$validate-code of CodeSystem and ValueSet: whether a code is one of them.

https://hl7.org/fhir/R4/codesystem-operation-validate-code.html, valueset-operation-validate-code.html
"""

from dataclasses import dataclass
from typing import Any

from server.errors import BadRequest
from server.operations.definition import Call, defined
from server.operations.operation import Operation
from server.operations.terminology_content import Coded, Held, answering, coded, parameters, refuse
from server.repository import Repository
from terminology.concept import Concept
from terminology.errors import UnknownContent
from terminology.value_set import PARTIAL, holds
from terminology.versions import fits

_BASE = "http://hl7.org/fhir/OperationDefinition/"


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is known of a code that is asked about."""

    asked: Coded
    concept: Concept | None
    #: Whether it may be one for all that is at hand, which is a part.
    assumed: bool = False


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
    found = [_Answer(asked=one, concept=system.find(one.code)) for one in asked if one.system == own]
    if system.header.content in PARTIAL:
        found = [one if one.concept else _Answer(one.asked, Concept(code=one.asked.code), True) for one in found]
    return _verdict(call, found, f"{asked[0].code[:64]} is no code of {own}.")


def _in_value_set(held: Held, call: Call) -> dict[str, Any]:
    refuse(call, "date", "context")
    value_set = held.named_set(call)
    asked = coded(call, version="systemVersion")
    if any(not one.system for one in asked):
        raise BadRequest("A code needs its code system: system.", expression="system")
    name = value_set.url or value_set.resource.get("id") or "the value set"
    otherwise = f"{asked[0].system[:200]}|{asked[0].code[:64]} is not in {name}."
    found: list[_Answer] = []
    for one in asked:
        try:
            member = holds(value_set, held, one.system, one.code, one.version)
        except UnknownContent as error:
            # What can't be told is not said to be so.
            otherwise = str(error)
            continue
        if member is not None and not _same_version(one.version, member.version):
            otherwise = f"{name} takes version {member.version} of {one.system[:200]}, not {one.version[:64]}."
        elif member is not None:
            found.append(_Answer(one, member.concept, member.assumed))
    return _verdict(call, found, otherwise)


def _same_version(asked: str, have: str) -> bool:
    return not asked or not have or fits(have, asked)


def _verdict(call: Call, found: list[_Answer], otherwise: str) -> dict[str, Any]:
    """True where one of the codings holds; a display that is not the code's is a fault, and the right one is told."""
    known = sorted((one for one in found if one.concept is not None), key=lambda one: one.assumed)
    if not known or known[0].concept is None:
        return parameters(("result", "Boolean", False), ("message", "String", otherwise))
    asked, concept = known[0].asked, known[0].concept
    display = concept.shown(call.one("displayLanguage", "")) if not known[0].assumed else ""
    fault = ""
    if concept.abstract and not call.one("abstract", default=False):
        fault = f"{concept.code} only groups others; it is not to be chosen."
    elif asked.display and concept.display and not _is_display(concept, asked.display):
        fault = f"The display is not that of {concept.code}, which is '{display}'."
    message = fault or _remark(known[0], concept)
    return parameters(("result", "Boolean", not fault), ("message", "String", message), ("display", "String", display))


def _remark(one: _Answer, concept: Concept) -> str:
    if one.assumed:
        return f"Only a part of {one.asked.system[:200]} is at hand, which does not have {concept.code[:64]}."
    return f"{concept.code} is inactive: kept for what was coded before." if concept.inactive else ""


def _is_display(concept: Concept, display: str) -> bool:
    names = [concept.display, *(str(one.get("value", "")) for one in concept.designations)]
    return display.casefold() in {name.casefold() for name in names}
