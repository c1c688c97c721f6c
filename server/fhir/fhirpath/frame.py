"""What a running expression can see: https://hl7.org/fhirpath/N1/#environment-variables."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from server.fhir.fhirpath.model import Definitions
from server.fhir.fhirpath.node import Collection, Node

Resolve = Callable[[str], dict[str, Any] | None]
MemberOf = Callable[[Any, str], bool]


class World:
    """What stays the same during one evaluation."""

    __slots__ = ("member_of", "model", "now", "resolve", "root", "variables")

    def __init__(
        self,
        root: Node,
        variables: Mapping[str, Any],
        resolve: Resolve | None,
        member_of: MemberOf | None,
        model: Definitions | None,
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


class Frame:
    """What changes from item to item: ``$this``, ``$index``, ``$total``."""

    __slots__ = ("index", "this", "total", "world")

    def __init__(self, world: World, this: Collection, index: int = 0, total: Collection | None = None) -> None:
        self.world = world
        self.this = this
        self.index = index
        self.total = total if total is not None else []


#: A compiled part of an expression: the frame and the collection it is applied to, in; a collection out.
Step = Callable[[Frame, Collection], Collection]
