"""The GraphQL query language, as far as FHIR reads with it: https://spec.graphql.org/October2021/ and
https://hl7.org/fhir/R4/graphql.html. Text in, a Document of frozen values out; queries only.
"""

from server.fhir.graphql.parser import parse
from server.fhir.graphql.syntax import (
    Directive,
    Document,
    EnumValue,
    Field,
    Fragment,
    InlineFragment,
    QueryOperation,
    Selection,
    Spread,
    Variable,
    VariableDefinition,
)

__all__ = [
    "Directive",
    "Document",
    "EnumValue",
    "Field",
    "Fragment",
    "InlineFragment",
    "QueryOperation",
    "Selection",
    "Spread",
    "Variable",
    "VariableDefinition",
    "parse",
]
