"""An expression that can be evaluated: https://hl7.org/fhirpath/N1/#expressions."""

from collections.abc import Callable, Mapping
from decimal import DecimalException
from functools import lru_cache
from typing import Any

from server.errors import BadRequest, Unprocessable
from server.fhir.fhirpath.analysis import check, types
from server.fhir.fhirpath.compiler import compile_syntax
from server.fhir.fhirpath.frame import Budget, Frame, MemberOf, Resolve, Step, World
from server.fhir.fhirpath.model import Definitions
from server.fhir.fhirpath.node import Collection, Node, plain_value, resource_node
from server.fhir.fhirpath.parser import parse
from server.fhir.fhirpath.singleton import truth
from server.fhir.fhirpath.syntax import Dollar, Member, Syntax
from server.fhir.fhirpath.walk import Walk, keys, walk

_NO_VARIABLES: Mapping[str, Any] = {}


class Expression:
    """One FHIRPath expression, parsed once and compiled once for each model."""

    def __init__(self, text: str, syntax: Syntax | None = None) -> None:
        #: As it was written.
        self.text = text
        self._syntax = syntax or parse(text)
        # By identity: definitions hold tables and can't be hashed. The model is kept so that its id stays its own.
        self._steps: dict[int, tuple[Definitions | None, Step]] = {}
        self._step(None)

    def _step(self, model: Definitions | None) -> Step:
        known = self._steps.get(id(model))
        if known is None:
            try:
                known = self._steps[id(model)] = (model, compile_syntax(self._syntax, model))
            except RecursionError as error:
                raise BadRequest("FHIRPath: nested too deeply; split the expression", expression=self.text) from error
        return known[1]

    def check(self, type_name: str, model: Definitions) -> None:
        """Raise BadRequest if the expression makes no sense for that type: a name it lacks, an order there isn't."""
        check(self._syntax, type_name, model)

    def types(self, type_name: str, model: Definitions) -> frozenset[str] | None:
        """The FHIR types of what it may give for that type; None where that can't be told. BadRequest as ``check``."""
        return types(self._syntax, type_name, model)

    def parent(self) -> tuple["Expression", str] | None:
        """What the last step is taken from, and its element name; None if the expression doesn't end in a name."""
        if not isinstance(self._syntax, Member):
            return None
        return Expression(self.text, self._syntax.of or Dollar("this")), self._syntax.name

    def walk(self, path: str, model: Definitions) -> Walk | None:
        """The same for nodes of one path, without an environment and faster; None where it is no mere path."""
        return walk(self._syntax, path, model)

    def keys(self, path: str, model: Definitions) -> frozenset[str] | None:
        """The JSON properties without any of which it gives nothing for objects of one path; None for not known."""
        return keys(self._syntax, path, model)

    def evaluate(
        self,
        resource: dict[str, Any] | Node,
        *,
        context: Mapping[str, Any] | None = None,
        resolve: Resolve | None = None,
        member_of: MemberOf | None = None,
        model: Definitions | None = None,
        budget: Budget | None = None,
    ) -> Collection:
        """The items that the expression gives for a resource, or for an element of one as a Node.

        ``context`` holds ``%name`` variables (a dict is taken as an element, a list as a collection); a ``resource``
        in it is %resource where it is not what is evaluated. ``resolve`` finds what a reference means; without it
        resolve() gives the type and id that the reference itself names. ``member_of`` decides memberOf().
        ``budget`` is for evaluations that may not do more together than one alone.
        Unprocessable if the data don't allow what the expression asks.
        """
        root = resource if isinstance(resource, Node) else resource_node(resource)
        world = World(root, context if context is not None else _NO_VARIABLES, resolve, member_of, model, budget)
        known = self._steps.get(id(model))
        step = known[1] if known is not None else self._step(model)
        this = [root]
        try:
            return step(Frame(world, this), this)
        except RecursionError as error:
            raise Unprocessable("FHIRPath: nested too deeply; split the expression", expression=self.text) from error
        except DecimalException as error:
            raise Unprocessable("FHIRPath: a number is out of range", expression=self.text) from error

    def values(
        self,
        resource: dict[str, Any] | Node,
        *,
        context: Mapping[str, Any] | None = None,
        resolve: Resolve | None = None,
        member_of: MemberOf | None = None,
        model: Definitions | None = None,
    ) -> list[Any]:
        """As ``evaluate``, each item as plain JSON: text, numbers, dicts."""
        found = self.evaluate(resource, context=context, resolve=resolve, member_of=member_of, model=model)
        return [plain_value(item) for item in found]

    def holds(
        self,
        resource: dict[str, Any] | Node,
        *,
        context: Mapping[str, Any] | None = None,
        resolve: Resolve | None = None,
        member_of: MemberOf | None = None,
        model: Definitions | None = None,
    ) -> bool:
        """Whether it gives true (or one item that is no boolean); empty is false; several are Unprocessable."""
        found = self.evaluate(resource, context=context, resolve=resolve, member_of=member_of, model=model)
        return truth(found, self.text) is True

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"


compile_expression: Callable[[str], Expression] = lru_cache(maxsize=8192)(Expression)
