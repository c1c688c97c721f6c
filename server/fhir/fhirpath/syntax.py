"""The parts that a FHIRPath expression is made of: https://hl7.org/fhirpath/N1/#expressions."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant; a collection of none for ``{}``."""

    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """``%name``, from the evaluation's environment."""

    name: str


@dataclass(frozen=True, slots=True)
class Dollar:
    """``$this``, ``$index`` or ``$total``."""

    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """A step to the children of that name; without ``of``, from the context."""

    of: "Syntax | None"
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function applied to ``of`` or, without it, to the context."""

    of: "Syntax | None"
    name: str
    arguments: "tuple[Syntax, ...]"


@dataclass(frozen=True, slots=True)
class Indexer:
    """``of[index]``."""

    of: "Syntax"
    index: "Syntax"


@dataclass(frozen=True, slots=True)
class Polarity:
    """``+`` or ``-`` before an operand."""

    sign: str
    operand: "Syntax"


@dataclass(frozen=True, slots=True)
class Operation:
    """A binary operator between two expressions."""

    operator: str
    left: "Syntax"
    right: "Syntax"


@dataclass(frozen=True, slots=True)
class TypeOperation:
    """``operand is Type`` or ``operand as Type``."""

    operator: str
    operand: "Syntax"
    specifier: str


Syntax = Literal | Variable | Dollar | Member | Call | Indexer | Polarity | Operation | TypeOperation
