"""Takes a written CodeSystem apart into tables, in the transaction that writes it: a large one is never parsed again.

https://hl7.org/fhir/R4/codesystem.html
"""

from typing import Any

from server.store import terminology_write
from server.store.database import UnitOfWork
from terminology.code_system import concepts_of, header_of
from terminology.hierarchy import Hierarchy, places

#: Concepts of a code system that processes keep in memory; of more the tables are asked.
MOST_IN_MEMORY = 500
_APART = "CodeSystem"


def take_apart(uow: UnitOfWork, tenant: int, resource: dict[str, Any]) -> None:
    """Enters a version of a CodeSystem in place of the one before; other types have nothing to be taken apart."""
    if resource["resourceType"] != _APART:
        return
    forget(uow, tenant, _APART, resource["id"])
    entered(uow, tenant, resource)


def entered(uow: UnitOfWork, tenant: int, resource: dict[str, Any]) -> int:
    """Enters a version of a CodeSystem beside what is there; the number that it has in the tables."""
    found = {one.code: one for one in concepts_of(resource)}
    apart = len(found) > MOST_IN_MEMORY
    system = terminology_write.enter(
        uow, tenant, header_of(resource), id=resource["id"], resource_version=int(resource["meta"]["versionId"]),
        apart=apart, complete=True,
    )  # fmt: skip
    if apart:
        concepts = list(found.values())
        terminology_write.copy(uow, tenant, system, enumerate(concepts), Hierarchy(places(concepts)))
    return system


def forget(uow: UnitOfWork, tenant: int, resource_type: str, id: str) -> None:
    """Takes out what earlier versions of a resource brought."""
    if resource_type == _APART:
        systems = terminology_write.of_resource(uow, tenant, id)
        if systems:
            terminology_write.remove(uow, tenant, systems)
