"""Bindings that a profile states: https://hl7.org/fhir/R4/terminologies.html#strength"""

from collections.abc import Iterator
from typing import Any

from server.fhir.fhirpath import Node
from server.fhir.profile.instance import Check, Situation
from server.fhir.profile.rule import Binding
from server.fhir.validate.problem import Problem, Problems

_TEXT = ("code", "string", "uri", "id", "url", "canonical", "oid", "uuid", "markdown")


def bound(binding: Binding, tail: str) -> Check | None:
    """The check of a binding; None for strengths that leave the choice free."""
    asked = []
    if binding.strength in ("required", "extensible"):
        asked.append((binding.value_set, binding.strength == "required"))
    if binding.most and (binding.most, True) not in asked:
        asked.append((binding.most, True))
    if not asked:
        return None

    def check(node: Node, situation: Situation) -> Problems:
        problems: list[Problem] = []
        for value_set, must in asked:
            problems += _missed(node, value_set, must, situation, tail)
        return problems or None

    return check


def _missed(node: Node, value_set: str, must: bool, situation: Situation, tail: str) -> list[Problem]:
    codes = list(_codes(node))
    if not codes and (node.value is None or not must or node.type not in ("CodeableConcept", "Coding", *_TEXT)):
        return []
    answers = [situation.profiles.holds(value_set, system, code) for system, code in codes]
    if True in answers:
        return []
    if None in answers:
        details = (
            f"whether the code is in {value_set} can't be told here, as that or a code system is not at hand{tail}"
        )
        return [Problem(code="not-supported", details=details, severity="information")]
    if must:
        return [Problem(code="code-invalid", details=f"no code of {value_set} is here; give one{tail}")]
    details = f"no code of {value_set} is here; give one if one of them fits{tail}"
    return [Problem(code="code-invalid", details=details, severity="warning")]


def _codes(node: Node) -> Iterator[tuple[str | None, str]]:
    """System and code of all that a value says; a bare code has no system of its own."""
    value = node.value
    if isinstance(value, str):
        if node.type in _TEXT:
            yield None, value
    elif isinstance(value, dict):
        codings: Any = value.get("coding", ()) if node.type == "CodeableConcept" else (value,)
        for coding in codings if isinstance(codings, list | tuple) else ():
            if isinstance(coding, dict) and coding.get("code") is not None:
                yield str(coding.get("system", "")), str(coding["code"])
