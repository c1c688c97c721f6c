"""Whether an expression makes sense for a type, without any data: https://hl7.org/fhirpath/N1/#type-safety-and-strict-evaluation.

What an expression may give is followed as a set of places, each the FHIR type and the path where its children are
defined. None stands for "can't be told" (System values, resolved references, resources of any type) and is never wrong.
"""

from server.errors import BadRequest
from server.fhir.fhirpath.model import Definitions
from server.fhir.fhirpath.syntax import (
    Call,
    Dollar,
    Indexer,
    Literal,
    Member,
    Operation,
    Polarity,
    Syntax,
    TypeOperation,
    Variable,
)
from server.fhir.fhirpath.type_specifiers import PRIMITIVES, TypeSpecifier

#: (FHIR type, path of its children).
Place = tuple[str, str]
Places = frozenset[Place] | None

_ANY_RESOURCE = ("Resource", "DomainResource")
#: Functions that give items of their input.
_KEEPING = (
    "where",
    "first",
    "last",
    "tail",
    "skip",
    "take",
    "single",
    "trace",
    "distinct",
    "exclude",
    "intersect",
    "sort",
)
#: Functions whose arguments are evaluated on each item.
_PER_ITEM = ("where", "select", "exists", "all", "repeat", "aggregate", "sort", "iif", "trace")
#: Functions that ask for an order, which children() and descendants() don't have (N1, 5.8).
_ORDERED = ("first", "last", "tail", "skip", "take")


def check(syntax: Syntax, type_name: str, model: Definitions) -> None:
    """Raise BadRequest at the first step that can give nothing for a resource or element of that type."""
    places: Places = None if type_name in _ANY_RESOURCE else frozenset({(type_name, type_name)})
    _Analysis(model).places(syntax, places)


def types(syntax: Syntax, type_name: str, model: Definitions) -> frozenset[str] | None:
    """The FHIR types of what an expression may give for a type; None where that can't be told."""
    places: Places = None if type_name in _ANY_RESOURCE else frozenset({(type_name, type_name)})
    found = _Analysis(model).places(syntax, places)
    return None if found is None else frozenset(name for name, _ in found)


class _Analysis:
    def __init__(self, model: Definitions) -> None:
        self._model = model

    def places(self, syntax: Syntax, this: Places) -> Places:
        """What an expression may give where ``$this`` is one of those places."""
        match syntax:
            case Member(of, name):
                return self._first_member(name, this) if of is None else self._member(name, self.places(of, this))
            case Call():
                return self._call(syntax, this)
            case TypeOperation(operator, operand, specifier):
                self.places(operand, this)
                return self._typed(operator, specifier)
            case Operation(operator, left, right):
                first, second = self.places(left, this), self.places(right, this)
                return first | second if operator == "|" and first is not None and second is not None else None
            case Indexer(of, index):
                self._refuse_disorder(of, "[ ]")
                self.places(index, this)
                return self.places(of, this)
            case Polarity(_, operand):
                self.places(operand, this)
                return None
            case Dollar(name):
                return this if name == "this" else None
            case Literal() | Variable():
                return None

    def _first_member(self, name: str, this: Places) -> Places:
        if this is None or not name[:1].isupper():
            return self._member(name, this)
        fitting = frozenset(place for place in this if name in self._model.ancestry(place[0]))
        if not fitting:
            seen = " or ".join(sorted(place[0] for place in this))
            raise BadRequest(f"FHIRPath: the path begins at {name}, but it is applied to {seen}", expression=name)
        return fitting

    def _member(self, name: str, of: Places) -> Places:
        if of is None:
            return None
        found: set[Place] = set()
        for type_name, path in of:
            if type_name in PRIMITIVES and name == "value":
                return None
            for each in self._model.properties(path).values():
                if each.element.name == name:
                    found.add((each.type, each.children))
        if not found:
            seen = " or ".join(sorted(path for _, path in of))
            raise BadRequest(f"FHIRPath: {seen} has no element {name!r}; check its spelling", expression=name)
        return None if any(type_name in _ANY_RESOURCE for type_name, _ in found) else frozenset(found)

    def _typed(self, operator: str, specifier: str) -> Places:
        if operator == "is":
            return None
        name = TypeSpecifier(specifier, self._model).fhir
        return frozenset({(name, name)}) if name in self._model.types and name not in _ANY_RESOURCE else None

    def _call(self, call: Call, this: Places) -> Places:
        of = this if call.of is None else self.places(call.of, this)
        if call.name in ("is", "as", "ofType") and len(call.arguments) == 1:
            return self._typed(call.name, type_name(call.arguments[0]))
        if call.of is not None and call.name in _ORDERED:
            self._refuse_disorder(call.of, f"{call.name}()")
        inner = of if call.name in _PER_ITEM else this
        arguments = [self.places(argument, inner) for argument in call.arguments]
        if call.name in _KEEPING:
            return of
        if call.name == "select":
            return arguments[0]
        if call.name == "extension":
            return frozenset({("Extension", "Extension")})
        return None

    def _refuse_disorder(self, of: Syntax, asked: str) -> None:
        if isinstance(of, Call) and of.name in ("children", "descendants"):
            raise BadRequest(f"FHIRPath: {of.name}() has no order, so {asked} of it means nothing; sort or name them")


def type_name(argument: Syntax) -> str:
    """The type name that stands as the argument of is(), as() or ofType()."""
    match argument:
        case Member(None, name):
            return name
        case Member(Member(None, namespace), name):
            return f"{namespace}.{name}"
    raise BadRequest("FHIRPath: is(), as() and ofType() take a type name such as Quantity or FHIR.Quantity")
