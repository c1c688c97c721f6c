"""FHIRPath (Normative Release 1) as FHIR R4 uses it: https://hl7.org/fhirpath/N1/ and https://hl7.org/fhir/R4/fhirpath.html.

An expression is compiled once into Python closures and then applied to resources as JSON dicts::

    from server.fhir.fhirpath import compile_expression

    expression = compile_expression("Patient.name.where(use = 'official').given")   # cached by its text
    expression.values(patient)                     # ['Peter', 'James']: plain JSON
    expression.evaluate(patient, model=definitions)  # [Node(string 'Peter'), ...]: FHIR type of each item in .type
    compile_expression("birthDate < today()").holds(patient, model=definitions)    # True

``model`` (server.fhir.definitions.load()) tells the types of elements; without it simple paths, choices (value[x] by
the ending of its key) and dates compared with date literals still work. ``resolve`` and ``member_of`` are what a
higher floor knows about references and value sets; ``context`` are ``%variables``. BadRequest for an expression that
makes no sense, Unprocessable for data that it can't be applied to.
"""

from server.fhir.fhirpath.expression import Expression, compile_expression
from server.fhir.fhirpath.frame import Budget
from server.fhir.fhirpath.node import Collection, Node, plain_value, resource_node, system_value

__all__ = [
    "Budget",
    "Collection",
    "Expression",
    "Node",
    "compile_expression",
    "plain_value",
    "resource_node",
    "system_value",
]
