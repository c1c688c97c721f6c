"""FHIRPath tokens into syntax, by precedence climbing: https://hl7.org/fhirpath/N1/#operator-precedence."""

from decimal import Decimal

from server.errors import BadRequest
from server.fhir.fhirpath.lexer import Token, tokens
from server.fhir.fhirpath.quantity import CALENDAR_UNITS, Quantity
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
from server.fhir.fhirpath.temporal import Date, DateTime, Time

#: Binary operators by precedence, loosest first (the table of N1, 6.8 read upwards).
_PRECEDENCE = {
    operator: level
    for level, operators in enumerate(
        (
            ("implies",),
            ("or", "xor"),
            ("and",),
            ("in", "contains"),
            ("=", "~", "!=", "!~"),
            ("<=", "<", ">", ">="),
            ("|",),
            ("is", "as"),
            ("+", "-", "&"),
            ("*", "/", "div", "mod"),
        )
    )
    for operator in operators
}
#: Deeper nesting than this is an attack, not an expression.
_DEEPEST = 100


def parse(text: str) -> Syntax:
    """The syntax of an expression; BadRequest names the character where it stops making sense."""
    parser = _Parser(text)
    expression = parser.expression(0)
    parser.expect("end", "", "an operator or the end")
    return expression


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens(text)
        self._next = 0
        self._depth = 0

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _take_symbol(self, text: str) -> bool:
        token = self._peek()
        if token.kind == "symbol" and token.text == text:
            self._next += 1
            return True
        return False

    def expect(self, kind: str, text: str, wanted: str) -> None:
        """Take a token of that kind and text, or say what was wanted."""
        token = self._peek()
        if token.kind != kind or token.text != text:
            raise self._wrong(token, wanted)
        if kind != "end":
            self._next += 1

    def _wrong(self, token: Token, wanted: str) -> BadRequest:
        seen = repr(token.text) if token.text else "the end"
        return BadRequest(
            f"FHIRPath: {seen} at character {token.at + 1}, where {wanted} is expected", expression=self._text
        )

    def expression(self, level: int) -> Syntax:
        """An expression whose binary operators bind at least as tightly as that level."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise BadRequest(f"FHIRPath: nested deeper than {_DEEPEST}; split the expression", expression=self._text)
        left = self._operand()
        while True:
            token = self._peek()
            binding = _PRECEDENCE.get(token.text, -1) if token.kind in ("word", "symbol") else -1
            if binding < level:
                break
            self._take()
            if token.text in ("is", "as"):
                left = TypeOperation(token.text, left, self._type_specifier())
            else:
                left = Operation(token.text, left, self.expression(binding + 1))
        self._depth -= 1
        return left

    def _operand(self) -> Syntax:
        token = self._peek()
        if token.kind == "symbol" and token.text in ("+", "-"):
            self._take()
            self._depth += 1
            if self._depth > _DEEPEST:
                raise self._wrong(token, "an operand, not another sign,")
            operand = self._operand()
            self._depth -= 1
            return Polarity(token.text, operand)
        return self._invocations(self._term())

    def _invocations(self, term: Syntax) -> Syntax:
        while True:
            if self._take_symbol("."):
                term = self._invocation(term)
            elif self._take_symbol("["):
                index = self.expression(0)
                self.expect("symbol", "]", "']'")
                term = Indexer(term, index)
            else:
                return term

    def _invocation(self, of: Syntax | None) -> Syntax:
        token = self._take()
        if token.kind == "dollar":
            return Dollar(token.text)
        if token.kind not in ("word", "quoted"):
            raise self._wrong(token, "an element or function name")
        if self._take_symbol("("):
            return Call(of, token.text, self._arguments())
        return Member(of, token.text)

    def _arguments(self) -> tuple[Syntax, ...]:
        if self._take_symbol(")"):
            return ()
        arguments = [self.expression(0)]
        while self._take_symbol(","):
            arguments.append(self.expression(0))
        self.expect("symbol", ")", "',' or ')'")
        return tuple(arguments)

    def _term(self) -> Syntax:
        token = self._peek()
        if token.kind == "symbol":
            self._take()
            if token.text == "(":
                inner = self.expression(0)
                self.expect("symbol", ")", "')'")
                return inner
            if token.text == "{":
                self.expect("symbol", "}", "'}'")
                return Literal(())
            raise self._wrong(token, "an expression")
        if token.kind == "variable":
            self._take()
            return Variable(token.text)
        if token.kind == "word" and token.text in ("true", "false"):
            self._take()
            return Literal((token.text == "true",))
        if token.kind in ("number", "string", "temporal", "time"):
            return self._literal(self._take())
        return self._invocation(None)

    def _literal(self, token: Token) -> Literal:
        if token.kind == "string":
            return Literal((token.text,))
        if token.kind == "number":
            return self._number(token)
        if token.kind == "time":
            value: Date | DateTime | Time | None = Time.parse(token.text)
        elif "T" in token.text:
            value = DateTime.parse(token.text)
        else:
            value = Date.parse(token.text)
        if value is None:
            raise self._wrong(token, "a date that the calendar has")
        return Literal((value,))

    def _number(self, token: Token) -> Literal:
        following = self._peek()
        if following.kind == "string":
            self._take()
            return Literal((Quantity(Decimal(token.text), following.text),))
        if following.kind == "word" and following.text in CALENDAR_UNITS:
            self._take()
            return Literal((Quantity(Decimal(token.text), CALENDAR_UNITS[following.text]),))
        if "." in token.text:
            return Literal((Decimal(token.text),))
        number = int(token.text)
        # N1, 4.1 Integer: 32 bits; what is larger is taken as a decimal rather than refused.
        return Literal((number if number < 2**31 else Decimal(number),))

    def _type_specifier(self) -> str:
        names = [self._name()]
        while self._take_symbol("."):
            names.append(self._name())
        return ".".join(names)

    def _name(self) -> str:
        token = self._take()
        if token.kind not in ("word", "quoted"):
            raise self._wrong(token, "a type name")
        return token.text
