"""Validation of resources against the base standard: ``validate(definitions, resource)`` gives the issues.

https://hl7.org/fhir/R4/validation.html: structure, cardinality, values, bindings and invariants. One file for each of
these; the checks are compiled from the definitions once, path by path, when a path is first met.
"""

from server.fhir.validate.resource import validate

__all__ = ["validate"]
