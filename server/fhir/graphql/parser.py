"""From GraphQL text to a Document: https://spec.graphql.org/October2021/#sec-Document-Syntax"""

from decimal import Decimal
from typing import Any, NoReturn

from server.errors import BadRequest, TooLarge
from server.fhir.graphql.lexer import Token, tokens
from server.fhir.graphql.syntax import (
    Directive,
    Document,
    EnumValue,
    Field,
    Fragment,
    InlineFragment,
    QueryOperation,
    Selection,
    Spread,
    Variable,
    VariableDefinition,
)

#: Levels of selections and of values.
DEEPEST = 20
_CONSTANTS = {"true": True, "false": False, "null": None}


def parse(text: str) -> Document:
    """The document; BadRequest names the line that can't be read, TooLarge the limit that it is over."""
    return _Parser(text).document()


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = list(tokens(text))
        self._at = 0
        self._depth = 0

    def document(self) -> Document:
        operations: list[QueryOperation] = []
        fragments: dict[str, Fragment] = {}
        while self._here.kind != "end":
            if self._is_name("fragment"):
                found = self._fragment()
                if found.name in fragments:
                    self._fail(f"the fragment {found.name} is there twice")
                fragments[found.name] = found
            else:
                operations.append(self._operation())
        if not operations:
            self._fail("there is no query")
        names = [one.name for one in operations]
        if len(set(names)) < len(names) or ("" in names and len(names) > 1):
            self._fail("of several queries each has a name of its own")
        return Document(operations=tuple(operations), fragments=fragments)

    @property
    def _here(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._here
        self._at += 1
        return token

    def _is_sign(self, sign: str) -> bool:
        return self._here.kind == "sign" and self._here.text == sign

    def _is_name(self, name: str) -> bool:
        return self._here.kind == "name" and self._here.text == name

    def _accept(self, sign: str) -> bool:
        found = self._is_sign(sign)
        self._at += found
        return found

    def _expect(self, sign: str) -> None:
        if not self._accept(sign):
            self._fail(f"'{sign}' is missing before '{self._here.text[:20]}'")

    def _name(self) -> str:
        if self._here.kind != "name":
            self._fail(f"a name is missing before '{self._here.text[:20]}'")
        return self._take().text

    def _fail(self, what: str) -> NoReturn:
        raise BadRequest(f"GraphQL, line {self._here.line}: {what}.", expression="query")

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise TooLarge(f"A GraphQL query is at most {DEEPEST} levels deep.", expression="query")

    def _operation(self) -> QueryOperation:
        name = ""
        variables: tuple[VariableDefinition, ...] = ()
        if not self._is_sign("{"):
            kind = self._name()
            if kind != "query":
                self._fail(f"only queries are carried out, no {kind[:20]}")
            name = self._name() if self._here.kind == "name" else ""
            variables = self._variables() if self._is_sign("(") else ()
            self._directives()
        return QueryOperation(name=name, variables=variables, selections=self._selections())

    def _fragment(self) -> Fragment:
        self._take()
        name = self._name()
        if name == "on" or not self._is_name("on"):
            self._fail("a fragment is: fragment name on Type")
        self._take()
        return Fragment(name=name, type=self._name(), selections=self._selections())

    def _variables(self) -> tuple[VariableDefinition, ...]:
        found: list[VariableDefinition] = []
        self._expect("(")
        while not self._accept(")"):
            self._expect("$")
            name = self._name()
            self._expect(":")
            required = self._type()
            default = self._value(constant=True) if self._accept("=") else None
            found.append(VariableDefinition(name=name, required=required and default is None, default=default))
        return tuple(found)

    def _type(self) -> bool:
        """Reads a type; whether it ends in an exclamation mark."""
        self._deeper()
        if self._accept("["):
            self._type()
            self._expect("]")
        else:
            self._name()
        self._depth -= 1
        return self._accept("!")

    def _selections(self) -> tuple[Selection, ...]:
        self._deeper()
        self._expect("{")
        found: list[Selection] = []
        while not self._accept("}"):
            found.append(self._selection())
        if not found:
            self._fail("nothing is selected between the braces")
        self._depth -= 1
        return tuple(found)

    def _selection(self) -> Selection:
        if not self._accept("..."):
            return self._field()
        if self._here.kind == "name" and not self._is_name("on"):
            return Spread(name=self._name(), directives=self._directives())
        kind = ""
        if self._is_name("on"):
            self._take()
            kind = self._name()
        return InlineFragment(type=kind, directives=self._directives(), selections=self._selections())

    def _field(self) -> Field:
        alias = name = self._name()
        if self._accept(":"):
            name = self._name()
        arguments = self._arguments()
        directives = self._directives()
        selections = self._selections() if self._is_sign("{") else ()
        return Field(name=name, alias=alias, arguments=arguments, directives=directives, selections=selections)

    def _arguments(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self._accept("("):
            while not self._accept(")"):
                name = self._name()
                self._expect(":")
                if name in found:
                    self._fail(f"the argument {name[:40]} stands twice")
                found[name] = self._value()
        return found

    def _directives(self) -> tuple[Directive, ...]:
        found: list[Directive] = []
        while self._accept("@"):
            found.append(Directive(name=self._name(), arguments=self._arguments()))
        return tuple(found)

    def _value(self, *, constant: bool = False) -> Any:
        self._deeper()
        found = self._of_token(constant)
        self._depth -= 1
        return found

    def _of_token(self, constant: bool) -> Any:
        token = self._take()
        if token.kind == "string":
            return token.text
        if token.kind == "int":
            return int(token.text) if len(token.text) < 20 else Decimal(token.text)
        if token.kind == "float":
            return Decimal(token.text)
        if token.kind == "name":
            return _CONSTANTS[token.text] if token.text in _CONSTANTS else EnumValue(token.text)
        if token.text == "$" and not constant:
            return Variable(self._name())
        if token.text == "[":
            listed = []
            while not self._accept("]"):
                listed.append(self._value(constant=constant))
            return listed
        if token.text == "{":
            held = {}
            while not self._accept("}"):
                name = self._name()
                self._expect(":")
                held[name] = self._value(constant=constant)
            return held
        self._at -= 1
        return self._fail(f"a value is missing before '{token.text[:20]}'")
