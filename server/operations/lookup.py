"""CodeSystem/$lookup: what a code means. https://hl7.org/fhir/R4/codesystem-operation-lookup.html"""

from collections.abc import Iterator
from typing import Any

from server.errors import BadRequest, NotFound
from server.operations.definition import Call, defined
from server.operations.operation import Operation
from server.operations.terminology_content import Held, answering, coded, parameters, parts, refuse
from server.repository import Repository
from terminology.code_system import CodeSystem, Concept

_CANONICAL = "http://hl7.org/fhir/OperationDefinition/CodeSystem-lookup"


def operation(repository: Repository) -> Operation:
    """The operation over the terminology at hand."""
    return defined(repository, _CANONICAL, answering(repository, _lookup))


def _lookup(held: Held, call: Call) -> dict[str, Any]:
    refuse(call, "date")
    asked = coded(call)[0]
    if not asked.system:
        raise BadRequest("Say of which code system: system.", expression="system")
    system = held.code_system(asked.system, asked.version)
    concept = system.find(asked.code) if system else None
    if system is None or concept is None:
        what = f"code {asked.code[:64]} in " if system else "code system "
        raise NotFound(f"There is no {what}{asked.system[:200]} here.", expression="code" if system else "system")
    return parameters(
        ("name", "String", system.name),
        ("version", "String", system.version),
        ("display", "String", concept.shown(call.one("displayLanguage", ""))),
        *(("designation", "part", list(_designation(one))) for one in concept.designations),
        *(("property", "part", part) for part in _properties(system, concept, call.all("property"))),
    )


def _designation(one: Any) -> Iterator[dict[str, Any]]:
    yield from parts(
        ("language", "Code", one.get("language")), ("use", "Coding", one.get("use")), ("value", "String", one["value"])
    )


def _properties(system: CodeSystem, concept: Concept, wanted: tuple[str, ...]) -> Iterator[list[dict[str, Any]]]:
    """Every property, or those that are asked for; parents, children and the definition among them."""
    below = (one.code for one in system.concepts.values() if concept.code in one.parents)
    found = [("definition", "valueString", concept.definition)] if concept.definition else []
    found += [("parent", "valueCode", code) for code in concept.parents]
    found += [("child", "valueCode", code) for code in below]
    for one in concept.properties:
        key = next((key for key in one if key.startswith("value")), None)
        if key and one.get("code") not in ("parent", "child"):
            found.append((str(one["code"]), key, one[key]))
    for name, key, value in found:
        if not wanted or name in wanted:
            yield [{"name": "code", "valueCode": name}, {"name": "value", key: value}]
