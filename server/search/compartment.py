"""Compartments: https://hl7.org/fhir/R4/compartmentdefinition.html"""

from server.errors import NotFound
from server.fhir.definitions import Definitions
from server.search.query import AnyOf, Criterion, Ids, Values
from server.search.reference import Operand

#: In the tables a resource of the compartment's own type is named by this.
ITSELF = "{def}"


def within(definitions: Definitions, compartment: str, id: str, resource_type: str) -> Criterion:
    """What holds for the resources of a type in the compartment of ``compartment/id``; NotFound where there is none."""
    codes = definitions.compartment(compartment).get(resource_type, ())
    if not codes:
        raise NotFound(f"There is no {resource_type} in the compartment of a {compartment}.")
    operand = Operand(targets=(f"{compartment}/{id}",))
    found: list[Criterion] = [
        Values(resource_types=(resource_type,), code=code, operands=(operand,)) for code in codes if code != ITSELF
    ]
    if resource_type == compartment:
        found.append(Ids(ids=(id,)))
    return AnyOf(criteria=tuple(found))
