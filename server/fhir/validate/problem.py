"""What a check found wrong, before its place is known wholly: the checks inside add their steps on the way out."""

from dataclasses import dataclass, field
from typing import Any

from server.errors import Issue


@dataclass(slots=True, kw_only=True)
class Problem:
    """One thing wrong, at a place below the element that is being looked at."""

    #: FHIR IssueType: https://hl7.org/fhir/R4/valueset-issue-type.html
    code: str
    #: What is wrong and how to cure it; never the value, which may be patient data.
    details: str
    severity: str = "error"
    #: Steps from the innermost outwards: element names and ``[index]``.
    steps: list[str] = field(default_factory=list)

    def issue(self, root: str) -> Issue:
        """The same with its whole FHIRPath from the root, the resource type."""
        place = root
        for step in reversed(self.steps):
            place += step if step.startswith("[") else f".{step}"
        return Issue(code=self.code, details=self.details, expression=place, severity=self.severity)


Problems = list[Problem] | None


def wrong(code: str, details: str, *steps: str) -> list[Problem]:
    """One problem; ``steps`` from the innermost outwards."""
    return [Problem(code=code, details=details, steps=list(steps))]


def below(step: str, found: list[Problem]) -> list[Problem]:
    """The problems of an element, seen from the one that holds it under that step."""
    for problem in found:
        problem.steps.append(step)
    return found


class Scope:
    """The resource that a check is inside of."""

    __slots__ = ("resource", "root")

    def __init__(self, root: dict[str, Any], resource: dict[str, Any]) -> None:
        #: %rootResource: the container.
        self.root = root
        #: %resource: itself, for a contained resource the contained one.
        self.resource = resource
