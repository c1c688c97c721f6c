"""What a running expression can see: https://hl7.org/fhirpath/N1/#environment-variables."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from server.errors import Unprocessable
from server.fhir.fhirpath.model import Definitions
from server.fhir.fhirpath.node import Collection, Node

Resolve = Callable[[str], dict[str, Any] | None]
MemberOf = Callable[[Any, str], bool]


#: Items looked at in one evaluation; the standard's own resources, 35 MB at most, need 20,000 for an invariant.
MOST_STEPS = 1_000_000


class Budget:
    """How much work an evaluation, or several together, may still do: loops inside loops multiply."""

    __slots__ = ("left",)

    def __init__(self, steps: int = MOST_STEPS) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Takes so many steps off; Unprocessable when there are no more."""
        self.left -= steps
        if self.left < 0:
            raise Unprocessable("FHIRPath: looks at too many items; name fewer, or nest fewer loops")


class World:
    """What stays the same during one evaluation."""

    __slots__ = ("budget", "member_of", "model", "now", "resolve", "root", "variables")

    def __init__(
        self,
        root: Node,
        variables: Mapping[str, Any],
        resolve: Resolve | None,
        member_of: MemberOf | None,
        model: Definitions | None,
        budget: Budget | None = None,
    ) -> None:
        #: The resource that the evaluation began with.
        self.root = root
        #: ``%name`` without the sign.
        self.variables = variables
        self.resolve = resolve
        self.member_of = member_of
        self.model = model
        #: now(), today() and timeOfDay() answer the same throughout an evaluation (N1, 5.9).
        self.now: datetime | None = None
        self.budget = budget if budget is not None else Budget()


class Frame:
    """What changes from item to item: ``$this``, ``$index``, ``$total``."""

    __slots__ = ("index", "this", "total", "world")

    def __init__(self, world: World, this: Collection, index: int = 0, total: Collection | None = None) -> None:
        budget = world.budget
        budget.left -= 1
        if budget.left < 0:
            budget.spend(0)
        self.world = world
        self.this = this
        self.index = index
        self.total = total if total is not None else []


#: A compiled part of an expression: the frame and the collection it is applied to, in; a collection out.
Step = Callable[[Frame, Collection], Collection]
