"""How a FHIRPath function is declared: https://hl7.org/fhirpath/N1/#functions."""

from collections.abc import Callable
from dataclasses import dataclass

from server.fhir.fhirpath.frame import Frame, Step
from server.fhir.fhirpath.node import Collection

#: Applied to the input collection and the values of its arguments.
Eager = Callable[..., Collection]
#: Applied to the frame, the input collection and its arguments unevaluated.
Lazy = Callable[..., Collection]


@dataclass(frozen=True, slots=True)
class Function:
    """A function and how many arguments it takes."""

    call: Callable[..., Collection]
    least: int
    most: int
    #: Whether it evaluates its arguments itself, item by item.
    lazy: bool


def eager(call: Eager, least: int = 0, most: int | None = None) -> Function:
    """A function whose arguments are evaluated once, on ``$this``."""
    return Function(call, least, least if most is None else most, lazy=False)


def lazy(call: Lazy, least: int = 0, most: int | None = None) -> Function:
    """A function that is given its arguments as steps."""
    return Function(call, least, least if most is None else most, lazy=True)


def application(function: Function, of: Step | None, arguments: tuple[Step, ...]) -> Step:
    """The step that applies a function to what ``of`` gives."""
    call = function.call
    if function.lazy:
        return lambda frame, focus: call(frame, focus if of is None else of(frame, focus), *arguments)
    if not arguments:
        return lambda frame, focus: call(focus if of is None else of(frame, focus))

    def apply(frame: Frame, focus: Collection) -> Collection:
        this = frame.this
        return call(focus if of is None else of(frame, focus), *[argument(frame, this) for argument in arguments])

    return apply
