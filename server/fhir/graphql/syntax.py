"""What a GraphQL document consists of: https://spec.graphql.org/October2021/#sec-Language"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Variable:
    """``$name`` where a value stands."""

    name: str


@dataclass(frozen=True, slots=True)
class EnumValue:
    """A bare word where a value stands."""

    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Directive:
    """``@name(argument: value)``"""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One field, with what is selected of it."""

    name: str
    #: The name that it has in the answer.
    alias: str
    #: Values: str, int, Decimal, bool, None, list, dict, Variable, EnumValue.
    arguments: Mapping[str, Any] = field(default_factory=dict)
    directives: tuple[Directive, ...] = ()
    selections: tuple["Selection", ...] = ()

    def directive(self, name: str) -> Directive | None:
        """A directive that the field has."""
        return next((one for one in self.directives if one.name == name), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """``...name``"""

    name: str
    directives: tuple[Directive, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class InlineFragment:
    """``... on Type { }``; no type fits all."""

    type: str
    directives: tuple[Directive, ...] = ()
    selections: tuple["Selection", ...] = ()


Selection: TypeAlias = Field | Spread | InlineFragment


@dataclass(frozen=True, kw_only=True, slots=True)
class Fragment:
    """``fragment name on Type { }``"""

    name: str
    type: str
    selections: tuple[Selection, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class VariableDefinition:
    """``$name: Type! = default``"""

    name: str
    required: bool
    default: Any = None


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryOperation:
    """``query name($variables) { }``"""

    name: str
    variables: tuple[VariableDefinition, ...]
    selections: tuple[Selection, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """Everything that was sent."""

    operations: tuple[QueryOperation, ...]
    fragments: Mapping[str, Fragment]
