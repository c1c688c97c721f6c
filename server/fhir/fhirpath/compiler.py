"""FHIRPath syntax into Python closures, once for each expression and model."""

from typing import Any

from server.errors import BadRequest, Unprocessable
from server.fhir.fhirpath.analysis import type_name
from server.fhir.fhirpath.frame import Frame, Step
from server.fhir.fhirpath.function import Function, application
from server.fhir.fhirpath.functions_conversion import CONVERSION
from server.fhir.fhirpath.functions_dates import DATES
from server.fhir.fhirpath.functions_existence import EXISTENCE
from server.fhir.fhirpath.functions_fhir import FHIR
from server.fhir.fhirpath.functions_filtering import FILTERING, sort_items
from server.fhir.fhirpath.functions_math import MATH
from server.fhir.fhirpath.functions_strings import STRINGS
from server.fhir.fhirpath.functions_types import TYPES
from server.fhir.fhirpath.model import Definitions
from server.fhir.fhirpath.navigation import child_step, root_step
from server.fhir.fhirpath.node import Collection, Node, resource_node
from server.fhir.fhirpath.operators import LOGIC, OPERATORS, polarity
from server.fhir.fhirpath.singleton import integer
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
from server.fhir.fhirpath.type_specifiers import TypeSpecifier

FUNCTIONS: dict[str, Function] = {**EXISTENCE, **FILTERING, **STRINGS, **MATH, **CONVERSION, **DATES, **TYPES, **FHIR}
_TYPE_FUNCTIONS = ("is", "as", "ofType")
#: https://hl7.org/fhir/R4/fhirpath.html#variables.
_CONSTANTS = {
    "sct": "http://snomed.info/sct",
    "loinc": "http://loinc.org",
    "ucum": "http://unitsofmeasure.org",
}
_PREFIXED = {"vs-": "http://hl7.org/fhir/ValueSet/", "ext-": "http://hl7.org/fhir/StructureDefinition/"}


def compile_syntax(syntax: Syntax, model: Definitions | None) -> Step:
    """The closure that evaluates an expression; BadRequest for functions and types that there aren't."""
    match syntax:
        case Literal(values):
            return _literal(values)
        case Member(of, name):
            return root_step(name, model) if of is None else child_step(compile_syntax(of, model), name, model)
        case Call():
            return _call(syntax, model)
        case Operation(operator, left, right):
            return _operation(operator, compile_syntax(left, model), compile_syntax(right, model))
        case TypeOperation(operator, operand, specifier):
            return _typed(operator, compile_syntax(operand, model), TypeSpecifier(specifier, model))
        case Indexer(of, index):
            return _indexer(compile_syntax(of, model), compile_syntax(index, model))
        case Polarity(sign, operand):
            return polarity(sign, compile_syntax(operand, model))
        case Variable(name):
            return _variable(name)
        case Dollar(name):
            return _DOLLARS[name]


def _literal(values: tuple[Any, ...]) -> Step:
    constant = list(values)
    return lambda _frame, _focus: constant


def _operation(operator: str, left: Step, right: Step) -> Step:
    logic = LOGIC.get(operator)
    if logic is not None:
        return logic(left, right)
    compute = OPERATORS[operator]
    return lambda frame, focus: compute(left(frame, focus), right(frame, focus))


def _indexer(of: Step, index: Step) -> Step:
    def indexed(frame: Frame, focus: Collection) -> Collection:
        at = integer(index(frame, frame.this), "[ ]")
        return [] if at is None or at < 0 else of(frame, focus)[at : at + 1]

    return indexed


_DOLLARS: dict[str, Step] = {
    "this": lambda frame, _focus: frame.this,
    "index": lambda frame, _focus: [frame.index],
    "total": lambda frame, _focus: frame.total,
}


def _variable(name: str) -> Step:
    if name in _CONSTANTS:
        return _literal((_CONSTANTS[name],))
    for prefix, url in _PREFIXED.items():
        if name.startswith(prefix):
            return _literal((url + name.removeprefix(prefix),))

    def look_up(frame: Frame, _focus: Collection) -> Collection:
        world = frame.world
        if name in world.variables:
            return _items(world.variables[name])
        if name in ("resource", "rootResource", "context"):
            return [world.root]
        raise Unprocessable(f"FHIRPath: no variable %{name} here; known are %resource, %context and what is passed in")

    return look_up


def _items(value: Any) -> Collection:
    values = value if isinstance(value, list) else [] if value is None else [value]
    return [_item(each) for each in values]


def _item(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return resource_node(value) if "resourceType" in value else Node(value, "", "")


def _call(call: Call, model: Definitions | None) -> Step:
    of = None if call.of is None else compile_syntax(call.of, model)
    if call.name in _TYPE_FUNCTIONS and len(call.arguments) == 1:
        specifier = TypeSpecifier(type_name(call.arguments[0]), model)
        return _typed(call.name + "()", of or (lambda _frame, focus: focus), specifier)
    if call.name == "sort":
        return _sort(of, call.arguments, model)
    function = FUNCTIONS.get(call.name)
    if function is None:
        raise BadRequest(f"FHIRPath: no function {call.name}(); check its spelling", expression=call.name)
    if not function.least <= len(call.arguments) <= function.most:
        wanted = str(function.least) if function.least == function.most else f"{function.least} to {function.most}"
        raise BadRequest(
            f"FHIRPath: {call.name}() takes {wanted} arguments, not {len(call.arguments)}", expression=call.name
        )
    return application(function, of, tuple(compile_syntax(argument, model) for argument in call.arguments))


def _sort(of: Step | None, arguments: tuple[Syntax, ...], model: Definitions | None) -> Step:
    keys: list[tuple[Step, bool]] = []
    for argument in arguments:
        # A key with "-" before it sorts downwards, and need not be a number.
        descending = isinstance(argument, Polarity) and argument.sign == "-"
        key = argument.operand if isinstance(argument, Polarity) else argument
        keys.append((compile_syntax(key, model), descending))
    return lambda frame, focus: sort_items(frame, focus if of is None else of(frame, focus), *keys)


def _typed(operator: str, of: Step, specifier: TypeSpecifier) -> Step:
    def is_type(frame: Frame, focus: Collection) -> Collection:
        found = of(frame, focus)
        if len(found) > 1:
            raise Unprocessable("FHIRPath: 'is' takes one item; use all($this is ...) or ofType()")
        return [specifier.includes(found[0])] if found else []

    def of_type(frame: Frame, focus: Collection) -> Collection:
        found = of(frame, focus)
        # R4's own search parameters apply the operator "as" to several items, so only the function refuses them.
        if operator == "as()" and len(found) > 1:
            raise Unprocessable("FHIRPath: as() takes one item; use ofType()")
        return [item for item in found if specifier.selects(item)]

    return is_type if operator.startswith("is") else of_type
