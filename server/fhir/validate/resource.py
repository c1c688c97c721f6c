"""A whole resource against the standard: https://hl7.org/fhir/R4/validation.html."""

from functools import lru_cache
from typing import Any

from server.errors import Issue
from server.fhir.definitions import Definitions
from server.fhir.validate.problem import Problem, Scope
from server.fhir.validate.structure import Structures


@lru_cache(maxsize=8)
def structures_of(definitions: Definitions) -> Structures:
    """The compiled checks of an edition, shared by all its resources."""
    return Structures(definitions)


def validate(definitions: Definitions, resource: Any) -> tuple[Issue, ...]:
    """What is wrong with a resource by the base standard; nothing if it is sound.

    Structure, cardinality, types, formats, choices, references' target types, contained resources, extensions'
    structure, required bindings (where the tables list the codes) and invariants of severity error. Each issue names
    the place as FHIRPath and the cure, never the value. Profiles are not looked at.
    """
    structures = structures_of(definitions)
    name = resource.get("resourceType") if isinstance(resource, dict) else None
    scope = Scope(resource, resource) if isinstance(resource, dict) else Scope({}, {})
    try:
        problems: list[Problem] = structures.resource(resource, scope) or []
    except RecursionError:
        return (Issue(code="too-costly", details="nested too deeply; flatten it", expression=str(name or "Resource")),)
    return tuple(problem.issue(str(name) if name else "Resource") for problem in problems)
