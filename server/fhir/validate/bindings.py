"""Required bindings: https://hl7.org/fhir/R4/terminologies.html#required."""

from collections.abc import Callable
from typing import Any

from server.fhir.definitions import Definitions, Element

#: Says what is wrong with a value's codes, or nothing.
Binding = Callable[[Any], str | None]
#: So many of a value set's codes are named in the cure.
_NAMED = 12


def required_binding(element: Element, kind: str, definitions: Definitions) -> Binding | None:
    """The check of an element's required binding for one of its types; None where there is nothing to check.

    Value sets that the tables don't list (languages, MIME types, UCUM) are a terminology's to decide.
    """
    if element.binding_strength != "required":
        return None
    codes = definitions.codes(element.value_set)
    if codes is None:
        return None
    every = frozenset().union(*codes.values())
    names = ", ".join(sorted(every)[:_NAMED]) + (", ..." if len(every) > _NAMED else "")
    cure = f"the code is not in {element.value_set}; it has {names}"
    if kind in ("code", "string", "uri"):
        return lambda value: None if value in every else cure
    if kind == "Coding":
        return lambda value: None if _listed(value, codes) else cure
    if kind == "CodeableConcept":
        return lambda value: None if any(_listed(coding, codes) for coding in _codings(value)) else cure
    return None


def _codings(concept: Any) -> list[Any]:
    codings = concept.get("coding", ()) if isinstance(concept, dict) else ()
    return codings if isinstance(codings, list) else []


def _listed(coding: Any, codes: dict[str, frozenset[str]]) -> bool:
    return isinstance(coding, dict) and coding.get("code") in codes.get(coding.get("system", ""), ())
