"""CodeSystem/$subsumes: how two codes stand to each other.

https://hl7.org/fhir/R4/codesystem-operation-subsumes.html
"""

from typing import Any

from server.errors import BadRequest, NotFound
from server.operations.definition import Call, defined
from server.operations.operation import Operation
from server.operations.terminology_content import Held, answering, coded, parameters
from server.repository import Repository

_CANONICAL = "http://hl7.org/fhir/OperationDefinition/CodeSystem-subsumes"


def operation(repository: Repository) -> Operation:
    """The operation over the terminology at hand."""
    return defined(repository, _CANONICAL, answering(repository, _subsumes))


def _subsumes(held: Held, call: Call) -> dict[str, Any]:
    own = held.named_system(call, "", "") if call.id else None
    a, b = (coded(call, own.header.url if own else "", suffix=suffix)[0] for suffix in "AB")
    if a.system != b.system or not a.system:
        raise BadRequest("Both codes are of one code system, and it is named: system.", expression="system")
    if own is not None and own.header.url != a.system:
        raise BadRequest(f"The codes are not of this code system, {own.header.url[:200]}.", expression="system")
    system = own if own is not None else held.named_system(call, a.system, a.version or b.version)
    found = system.find_many([a.code, b.code])
    for asked in (a, b):
        if asked.code not in found:
            raise NotFound(f"There is no code {asked.code[:64]} in {system.header.url}.", expression="code")
    return parameters(("outcome", "Code", system.subsumes(found[a.code].code, found[b.code].code)))
