"""Invariants, as FHIRPath: https://hl7.org/fhir/R4/conformance-rules.html#constraints.

An invariant is broken when its expression gives false. Where it gives nothing (data absent that it did not foresee,
such as bdl-8 on an entry without fullUrl) it is not.
"""

from collections.abc import Callable
from typing import Any, Final

from server.errors import Unprocessable
from server.fhir.definitions import Definitions
from server.fhir.fhirpath import Node, compile_expression
from server.fhir.validate.problem import Problem, Problems, Scope

#: Invariants that the structural checks decide already, faster and with a better place.
ELSEWHERE: Final = {
    "ele-1": "structure: no element is empty",
    "ext-1": "structure: a value or extensions, never both",
    "ref-1": "references: what '#id' points to is contained",
    "dom-2": "references: check_contained",
    "dom-3": "references: check_contained",
    "dom-4": "references: check_contained",
    "dom-5": "references: check_contained",
    "txt-1": "narrative",
    "txt-2": "narrative",
}
#: Invariants whose expression in 4.0.1 does not say what the rule means.
BROKEN: Final[dict[str, str]] = {
    "que-7": "asks for System.Boolean, which no FHIR boolean is",
}
#: Invariants whose expression fails where the rule has an answer, as R5 writes them.
CORRECTED: Final = {
    "tim-9": "offset.empty() or (when.exists() and when.select($this in ('C' | 'CM' | 'CD' | 'CV')).allFalse())",
}

Check = Callable[[Any, Scope], Problems]


def invariants(definitions: Definitions, places: tuple[str, ...], kind: str, children: str) -> Check | None:
    """The check of all invariants stated at some paths, for values of a type; None where nothing is stated.

    ``children`` is the path under which the children of the values are defined.
    """
    stated = [
        (each.key, compile_expression(CORRECTED.get(each.key, each.expression)))
        for place in places
        for each in definitions.constraints.get(place, ())
        if each.severity == "error" and each.key not in ELSEWHERE and each.key not in BROKEN
    ]
    if not stated:
        return None

    def check(value: Any, scope: Scope) -> Problems:
        problems: list[Problem] = []
        node = Node(value, kind, children)
        context = {"resource": scope.resource, "rootResource": scope.root}
        for key, expression in stated:
            try:
                found = expression.evaluate(node, context=context, model=definitions)
            except Unprocessable as error:
                details = f"breaks {key}: {expression.text} can't be evaluated ({error.details})"
                problems.append(Problem(code="invariant", details=details))
                continue
            if found and found[0] is False:
                problems.append(Problem(code="invariant", details=f"breaks {key}: {expression.text}"))
        return problems or None

    return check
