"""CodeSystem/$lookup: what a code means. https://hl7.org/fhir/R4/codesystem-operation-lookup.html"""

from collections.abc import Iterator
from typing import Any

from server.errors import BadRequest, NotFound
from server.operations.definition import Call, defined
from server.operations.operation import Operation
from server.operations.terminology_content import Held, answering, coded, parameters, parts, refuse
from server.repository import Repository
from terminology.code_system import CodeSystem
from terminology.concept import Concept

_CANONICAL = "http://hl7.org/fhir/OperationDefinition/CodeSystem-lookup"
_DESIGNATION = "designation"
#: A property that asks for the designations of one language.
_LANGUAGE = "lang."
_EVERYTHING = "*"


def operation(repository: Repository) -> Operation:
    """The operation over the terminology at hand."""
    return defined(repository, _CANONICAL, answering(repository, _lookup))


def _lookup(held: Held, call: Call) -> dict[str, Any]:
    refuse(call, "date")
    asked = coded(call)[0]
    if not asked.system:
        raise BadRequest("Say of which code system: system.", expression="system")
    system = held.named_system(call, asked.system, asked.version)
    concept = system.find(asked.code)
    if concept is None:
        raise NotFound(f"There is no code {asked.code[:64]} in {asked.system[:200]}.", expression="code")
    wanted = frozenset(call.all("property"))
    header = system.header
    return parameters(
        ("name", "String", header.name or header.title or header.url.rpartition("/")[2] or header.url),
        ("version", "String", header.version),
        ("display", "String", concept.shown(call.one("displayLanguage", ""))),
        *(("designation", "part", list(_designation(one))) for one in _designations(concept, wanted)),
        *(("property", "part", part) for part in _properties(system, concept, wanted)),
    )


def _designations(concept: Concept, wanted: frozenset[str]) -> Iterator[Any]:
    """All of them, or those of the languages that are asked for."""
    every = not wanted or bool(wanted & {_DESIGNATION, _EVERYTHING})
    for one in concept.designations:
        if every or f"{_LANGUAGE}{one.get('language')}" in wanted:
            yield one


def _designation(one: Any) -> Iterator[dict[str, Any]]:
    yield from parts(
        ("language", "Code", one.get("language")), ("use", "Coding", one.get("use")), ("value", "String", one["value"])
    )


def _properties(system: CodeSystem, concept: Concept, wanted: frozenset[str]) -> Iterator[list[dict[str, Any]]]:
    """Every property, or those that are asked for; parents, children, the definition and inactive among them."""
    found: list[tuple[str, str, Any]] = []
    found += [("definition", "valueString", concept.definition)] if concept.definition else []
    found += [("parent", "valueCode", code) for code in concept.parents]
    found += [("child", "valueCode", code) for code in system.children(concept.code)]
    if concept.inactive and True not in concept.values("inactive"):
        found.append(("inactive", "valueBoolean", True))
    for one in concept.properties:
        key = next((key for key in one if key.startswith("value")), None)
        if key:
            found.append((str(one["code"]), key, one[key]))
    for name, key, value in found:
        if not wanted or name in wanted or _EVERYTHING in wanted:
            yield [{"name": "code", "valueCode": name}, {"name": "value", key: value}]
