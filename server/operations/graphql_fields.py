"""Which fields are selected on one object, and what their arguments and directives say.

https://hl7.org/fhir/R4/graphql.html#3.1.5; fragments, variables, @skip and @include are GraphQL's own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from server.errors import BadRequest, TooLarge
from server.fhir.definitions import Definitions
from server.fhir.graphql import Directive, Document, EnumValue, Field, InlineFragment, Selection, Spread, Variable
from server.fhir.graphql import QueryOperation as Operation

_DIRECTIVES = {"skip": "if", "include": "if", "flatten": "", "first": "", "singleton": "", "slice": "fhirpath"}
#: Fields and fragments that are looked at for one answer, and characters that it has.
MOST_FIELDS = 200_000
MOST_CHARACTERS = 50_000_000


@dataclass(kw_only=True, eq=False)
class Fields:
    """The selections of one query."""

    document: Document
    definitions: Definitions
    variables: Mapping[str, Any]
    looked_at: int = 0
    characters: int = 0

    def give(self, value: Any) -> None:
        """Counts a simple value of the answer; TooLarge for one more than there may be."""
        self.characters += len(value) if isinstance(value, str) else 8
        if self.characters > MOST_CHARACTERS:
            raise TooLarge(f"The answer has more than {MOST_CHARACTERS} characters; ask for less.")

    def of(self, selections: Sequence[Selection], type: str) -> tuple[Field, ...]:
        """The fields that are selected on an object of a type, those of one name merged."""
        merged: dict[str, Field] = {}
        for field in self._expanded(selections, type, ()):
            before = merged.get(field.alias)
            if before is None:
                merged[field.alias] = field
            elif (before.name, before.arguments, before.directives) == (field.name, field.arguments, field.directives):
                merged[field.alias] = replace(before, selections=(*before.selections, *field.selections))
            else:
                raise BadRequest(f"Two different fields want to be '{field.alias}'; give one an alias.")
        return tuple(merged.values())

    def value(self, value: Any) -> Any:
        """An argument's value with its variables filled in."""
        if isinstance(value, Variable):
            if value.name not in self.variables:
                raise BadRequest(f"The query declares no variable ${value.name[:64]}.", expression="variables")
            return self.variables[value.name]
        if isinstance(value, EnumValue):
            return value.name
        if isinstance(value, list):
            return [self.value(one) for one in value]
        return value

    def arguments(self, field: Field) -> dict[str, Any]:
        """A field's arguments; one that is null is as if it were not there."""
        found = {name: self.value(value) for name, value in field.arguments.items()}
        return {name: value for name, value in found.items() if value is not None}

    def slice(self, field: Field) -> str:
        """The FHIRPath of @slice; empty where there is none."""
        directive = field.directive("slice")
        return str(self.value(directive.arguments["fhirpath"])) if directive is not None else ""

    def _expanded(self, selections: Sequence[Selection], type: str, inside: tuple[str, ...]) -> Iterator[Field]:
        for selection in selections:
            self.looked_at += 1
            if self.looked_at > MOST_FIELDS:
                raise TooLarge(f"The query gives more than {MOST_FIELDS} values; ask for less.")
            if not self._wanted(selection.directives):
                continue
            if isinstance(selection, Field):
                yield selection
            elif isinstance(selection, Spread):
                yield from self._spread(selection, type, inside)
            elif self._fits(selection, type):
                yield from self._expanded(selection.selections, type, inside)

    def _spread(self, spread: Spread, type: str, inside: tuple[str, ...]) -> Iterator[Field]:
        fragment = self.document.fragments.get(spread.name)
        if fragment is None:
            raise BadRequest(f"There is no fragment {spread.name[:64]}.")
        if spread.name in inside:
            raise BadRequest(f"The fragment {spread.name[:64]} holds itself.")
        if self._is(type, fragment.type):
            yield from self._expanded(fragment.selections, type, (*inside, spread.name))

    def _fits(self, fragment: InlineFragment, type: str) -> bool:
        return not fragment.type or self._is(type, fragment.type)

    def _is(self, type: str, wanted: str) -> bool:
        if wanted not in self.definitions.types:
            raise BadRequest(f"There is no type {wanted[:64]} in FHIR R4.")
        # Elements that are defined in place have no name that a fragment could use.
        return wanted in self.definitions.ancestry(type)

    def _wanted(self, directives: tuple[Directive, ...]) -> bool:
        found = True
        for directive in directives:
            argument = _DIRECTIVES.get(directive.name)
            if argument is None:
                raise BadRequest(f"There is no directive @{directive.name[:64]}; there are: {', '.join(_DIRECTIVES)}.")
            if set(directive.arguments) != ({argument} if argument else set()):
                raise BadRequest(f"@{directive.name} takes {argument or 'no arguments'}.")
            if directive.name in ("skip", "include"):
                value = self.value(directive.arguments["if"])
                if not isinstance(value, bool):
                    raise BadRequest(f"@{directive.name} takes true or false.")
                found = found and value is (directive.name == "include")
        return found


def chosen(document: Document, name: str) -> Operation:
    """The query that is meant; BadRequest where several could be."""
    if not name and len(document.operations) == 1:
        return document.operations[0]
    found = [one for one in document.operations if one.name == name and name]
    if not found:
        named = ", ".join(one.name for one in document.operations)
        raise BadRequest(f"Say by operationName which query is meant: {named[:200]}.", expression="operationName")
    return found[0]


def variables(operation: Operation, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a query's variables; BadRequest for one that is missing, or that it does not declare."""
    declared = {one.name: one for one in operation.variables}
    unknown = set(given) - set(declared)
    if unknown:
        raise BadRequest(f"The query declares no variable ${min(unknown)[:64]}.", expression="variables")
    found = {}
    for name, one in declared.items():
        value = given.get(name, one.default)
        if value is None and one.required:
            raise BadRequest(f"The query needs the variable ${name}.", expression="variables")
        found[name] = value.name if isinstance(value, EnumValue) else value
    return found
