"""CodeSystem/$subsumes: how two codes stand to each other.

https://hl7.org/fhir/R4/codesystem-operation-subsumes.html
"""

from typing import Any

from server.errors import BadRequest, NotFound
from server.operations.definition import Call, defined
from server.operations.operation import Operation
from server.operations.terminology_content import Held, answering, coded, parameters
from server.repository import Repository
from terminology.code_system import CodeSystem

_CANONICAL = "http://hl7.org/fhir/OperationDefinition/CodeSystem-subsumes"


def operation(repository: Repository) -> Operation:
    """The operation over the terminology at hand."""
    return defined(repository, _CANONICAL, answering(repository, _subsumes))


def _subsumes(held: Held, call: Call) -> dict[str, Any]:
    own = CodeSystem.of_resource(held.transaction.read(call.resource_type, call.id)) if call.id else None
    a, b = (coded(call, own.url if own else "", suffix=suffix)[0] for suffix in "AB")
    if a.system != b.system or not a.system:
        raise BadRequest("Both codes are of one code system, and it is named: system.", expression="system")
    system = own if own and own.url == a.system else held.code_system(a.system, a.version)
    if system is None:
        raise NotFound(f"There is no code system {a.system[:200]} here.", expression="system")
    found = [system.find(one.code) for one in (a, b)]
    for asked, concept in zip((a, b), found, strict=True):
        if concept is None:
            raise NotFound(f"There is no code {asked.code[:64]} in {system.url}.", expression="code")
    first, second = (concept.code for concept in found if concept)
    return parameters(("outcome", "Code", system.subsumes(first, second)))
