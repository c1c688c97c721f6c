"""Expressions that are mere paths, as walks over the JSON: https://hl7.org/fhirpath/N1/#path-selection.

Most search parameters are one: names below a type, perhaps a choice of types, a filter at the end, several of these
joined by ``|``. Where a type's definition tells every step beforehand, nothing has to be looked up on the way. What a
walk gives is what ``Expression.evaluate`` gives.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from server.errors import Unprocessable
from server.fhir.fhirpath.compiler import compile_syntax
from server.fhir.fhirpath.frame import Frame, World
from server.fhir.fhirpath.model import Definitions
from server.fhir.fhirpath.navigation import append, spellings
from server.fhir.fhirpath.node import Collection, Node
from server.fhir.fhirpath.operators import union
from server.fhir.fhirpath.syntax import Call, Member, Operation, Syntax, TypeOperation
from server.fhir.fhirpath.type_specifiers import TypeSpecifier

#: The items below a node, whose value is a JSON object.
Walk = Callable[[Node], Collection]
#: What stands below primitives too, and what says itself what it is.
_ANYWHERE = ("id", "extension", "resourceType")
_ANY_RESOURCE = ("Resource", "DomainResource")
#: Functions that give nothing where they are applied to nothing.
_EMPTY_OF_EMPTY = ("where", "as", "ofType", "extension", "first", "last", "single", "distinct", "resolve")


class _Branch(NamedTuple):
    """One JSON property on the way."""

    #: Key, FHIR type, path of its children, whether primitive.
    spelling: tuple[str, str, str, bool]
    key: str
    #: The key of what stands beside a primitive; empty for others.
    beside: str
    #: What comes below; None at the end.
    next: tuple["_Branch", ...] | None


def keys(syntax: Syntax, path: str, model: Definitions) -> frozenset[str] | None:
    """The JSON properties without any of which an expression gives nothing for an object of a path; None: not known."""
    if isinstance(syntax, Operation) and syntax.operator == "|":
        left, right = keys(syntax.left, path, model), keys(syntax.right, path, model)
        return None if left is None or right is None else left | right
    if isinstance(syntax, TypeOperation) and syntax.operator == "as":
        return _keys_typed(syntax.operand, syntax.specifier, path, model)
    if isinstance(syntax, Call) and syntax.of is not None and syntax.name in _EMPTY_OF_EMPTY:
        whole = isinstance(syntax.of, Member) and syntax.of.of is None and syntax.of.name[:1].isupper()
        return frozenset(("extension",)) if whole and syntax.name == "extension" else keys(syntax.of, path, model)
    if isinstance(syntax, Member) and _first(syntax, path, model):
        return _spelled(syntax.name, path, model)
    return keys(syntax.of, path, model) if isinstance(syntax, Member) and syntax.of is not None else None


def _first(member: Member, path: str, model: Definitions) -> bool:
    """Whether a name is the first below the type."""
    of = member.of
    if of is None:
        return member.name[:1].islower()
    return isinstance(of, Member) and of.of is None and path in model.types and of.name in model.ancestry(path)


def _spelled(name: str, path: str, model: Definitions) -> frozenset[str] | None:
    found = spellings(model, path, name)
    return frozenset(each for key, *_ in found for each in (key, f"_{key}")) if found else None


def _keys_typed(of: Syntax, kind: str, path: str, model: Definitions) -> frozenset[str] | None:
    if not (isinstance(of, Member) and _first(of, path, model)):
        return keys(of, path, model)
    selects = TypeSpecifier(kind, model).selects
    fitting = [each[0] for each in spellings(model, path, of.name) if selects(Node(None, each[1], each[2]))]
    return frozenset(each for key in fitting for each in (key, f"_{key}"))


def walk(syntax: Syntax, path: str, model: Definitions) -> Walk | None:
    """The expression as a walk from nodes of one path; None where it is more than that."""
    if isinstance(syntax, Operation) and syntax.operator == "|":
        left, right = walk(syntax.left, path, model), walk(syntax.right, path, model)
        if left is None or right is None:
            return None
        first, second = left, right
        return lambda node: union(first(node), second(node))
    if isinstance(syntax, TypeOperation) and syntax.operator == "as":
        return _typed(syntax.operand, syntax.specifier, path, model)
    if isinstance(syntax, Call) and syntax.of is not None:
        return _called(syntax, syntax.of, path, model)
    return _plain(syntax, path, model)


def _called(call: Call, of: Syntax, path: str, model: Definitions) -> Walk | None:
    """A choice of types or a filter behind a path."""
    if call.name in ("as", "ofType") and len(call.arguments) == 1:
        kind = call.arguments[0]
        if not isinstance(kind, Member) or kind.of is not None:
            return None
        return _typed(of, kind.name, path, model, single=call.name == "as")
    # Within an element %resource is not what the walk begins with, and a filter may ask for it.
    found = _plain(of, path, model) if call.name == "where" and path in model.types else None
    if found is None:
        return None
    all_of, rest = found, compile_syntax(Call(None, call.name, call.arguments), model)

    def filtered(node: Node) -> Collection:
        items = all_of(node)
        if not items:
            return items
        return rest(Frame(World(node, {}, None, None, model), [node]), items)

    return filtered


def _typed(of: Syntax, kind: str, path: str, model: Definitions, *, single: bool = False) -> Walk | None:
    found = _plain(of, path, model)
    if found is None:
        return None
    all_of, selects = found, TypeSpecifier(kind, model).selects

    def of_type(node: Node) -> Collection:
        items = all_of(node)
        if single and len(items) > 1:
            raise Unprocessable("FHIRPath: as() takes one item; use ofType()")
        return [item for item in items if selects(item)]

    return of_type


def _plain(syntax: Syntax, path: str, model: Definitions) -> Walk | None:
    """Names below a type or a path, nothing else."""
    names: list[str] = []
    step: Syntax | None = syntax
    while isinstance(step, Member):
        names.insert(0, step.name)
        step = step.of
    if step is not None:
        return None
    if names[0][:1].isupper():
        if path not in model.types:
            return None
        if names[0] not in model.ancestry(path):
            return lambda _node: []
        names = names[1:]
    if not names:
        return lambda node: [node]
    branches = _branches(path, tuple(names), model)
    if branches is None:
        return None
    known = branches

    def below(node: Node) -> Collection:
        out: Collection = []
        _walk(node.value, known, out)
        return out

    return below


def _branches(path: str, names: tuple[str, ...], model: Definitions) -> tuple[_Branch, ...] | None:
    """The properties that the first name may be, with what follows; None where the data decide."""
    if names[0] in _ANYWHERE or path in _ANY_RESOURCE:
        return None
    found = []
    for spelling in spellings(model, path, names[0]):
        key, _, children, primitive = spelling
        after: tuple[_Branch, ...] | None = None
        if len(names) > 1:
            after = _branches(children, names[1:], model)
            if after is None:
                return None
        found.append(_Branch(spelling, key, f"_{key}" if primitive else "", after))
    return tuple(found)


def _walk(value: dict[str, Any], branches: tuple[_Branch, ...], out: Collection) -> None:
    for spelling, key, beside, after in branches:
        found = value.get(key)
        if after is None:
            extra = value.get(beside) if beside else None
            if found is not None or extra is not None:
                append(out, found, spelling, extra)
        elif type(found) is dict:
            _walk(found, after, out)
        elif type(found) is list:
            for each in found:
                if type(each) is dict:
                    _walk(each, after, out)
