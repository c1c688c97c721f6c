"""What became of instances on their way in."""

from dataclasses import dataclass, field

from server.errors import BadInstance, DuplicateInstance


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """An instance that is durably stored."""

    sop_class: str
    sop_instance: str
    series: str
    study: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """An instance that is not stored, and why."""

    #: As far as they could be read.
    sop_class: str
    sop_instance: str
    #: Failure Reason (0008,1197).
    reason: int
    details: str
    #: Tag path of the place.
    expression: str = ""


@dataclass(kw_only=True, slots=True)
class Outcome:
    """What became of each instance, in the order received within each list."""

    stored: list[Accepted] = field(default_factory=list)
    already: list[Accepted] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


def refusal(error: BadInstance | DuplicateInstance, sop_class: str, sop_instance: str) -> Refused:
    """The error as what is told of the instance."""
    return Refused(
        sop_class=sop_class,
        sop_instance=sop_instance,
        reason=error.reason,
        details=error.details,
        expression=error.issues[0].expression,
    )
