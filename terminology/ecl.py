"""A part of SNOMED CT's Expression Constraint Language: https://confluence.ihtsdotools.org/display/DOCECL

Hierarchy (``<`` ``<<`` ``<!`` ``>`` ``>>`` ``>!``), members of a reference set (``^``), ``*``, ``AND``, ``OR``,
``MINUS``, parentheses, and refinements by attributes (``: attribute = constraint, ...``, also ``!=``). Attribute
groups, cardinalities, dotted attributes, concrete values and history supplements are refused.
"""

import re

from terminology.condition import EVERY, Above, AnyCondition, Below, Codes, Having, Leading, Not, every, some
from terminology.errors import TerminologyError

#: The property by which a concept is a member of a reference set.
MEMBER_OF = "memberOf"
_LONGEST = 4000
_DEEPEST = 20
_TOKEN = re.compile(r"\s*(<<!|<<|<!|<|>>!|>>|>!|>|\^|\*|\(|\)|,|:|!=|=|[0-9]{6,18}|[A-Za-z]+|\S)")
_TERM = re.compile(r"\|[^|]*\|")


def parse(text: str) -> AnyCondition:
    """The condition of an expression constraint; TerminologyError says what of it can't be read."""
    if len(text) > _LONGEST:
        raise TerminologyError(f"An expression constraint has at most {_LONGEST} characters.")
    reader = _Reader(_TOKEN.findall(_TERM.sub(" ", text)))
    found = reader.constraint(0)
    if reader.tokens:
        raise TerminologyError(f"The expression constraint can't be read from '{reader.tokens[0]}' on.")
    return found


class _Reader:
    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens

    def _next(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def _take(self, *wanted: str) -> str:
        if self._next() in wanted:
            return self.tokens.pop(0)
        return ""

    def _word(self, word: str) -> bool:
        found = self._next().upper() == word
        if found:
            self.tokens.pop(0)
        return found

    def constraint(self, depth: int) -> AnyCondition:
        """One constraint with what it is joined to and refined by."""
        if depth > _DEEPEST:
            raise TerminologyError(f"Parentheses are taken up to {_DEEPEST} deep.")
        found = self._single(depth)
        joined = ""
        while (word := self._next().upper()) in ("AND", "OR", "MINUS") or word == ",":
            word = "AND" if word == "," else word
            if joined and (joined != word or word == "MINUS"):
                raise TerminologyError("AND, OR and MINUS are mixed: put parentheses.")
            joined = word
            self.tokens.pop(0)
            other = self._single(depth)
            found = some(found, other) if word == "OR" else every(found, Not(other) if word == "MINUS" else other)
        if self._take(":"):
            found = every(found, self._refinement(depth))
        return found

    def _single(self, depth: int) -> AnyCondition:
        operator = self._take("<", "<<", "<!", ">", ">>", ">!", "^")
        if self._take("("):
            found = self.constraint(depth + 1)
            if not self._take(")"):
                raise TerminologyError("A parenthesis of the expression constraint is not closed.")
            if operator:
                raise TerminologyError(f"'{operator}' before a parenthesis is not read here; put it before each code.")
            return found
        if self._take("*"):
            return EVERY if operator != "^" else Having(MEMBER_OF)
        return _hierarchy(operator, self._code())

    def _code(self) -> str:
        code = self._next()
        if not code.isdigit():
            raise TerminologyError(f"The expression constraint has '{code[:20]}' where a concept's id is looked for.")
        return self.tokens.pop(0)

    def _refinement(self, depth: int) -> AnyCondition:
        found = self._attribute(depth)
        while True:
            if self._take(",") or self._word("AND"):
                found = every(found, self._attribute(depth))
            elif self._word("OR"):
                found = some(found, self._attribute(depth))
            else:
                return found

    def _attribute(self, depth: int) -> AnyCondition:
        name = self._code()
        operator = self._take("=", "!=")
        if not operator:
            raise TerminologyError("An attribute of an expression constraint is followed by = or !=.")
        value = self._single(depth + 1)
        if operator == "!=":
            value = Not(value)
        return Having(name) if value == EVERY else Leading(name, value)


def _hierarchy(operator: str, code: str) -> AnyCondition:
    found: dict[str, AnyCondition] = {
        "": Codes(frozenset({code})),
        "<": Below(code, itself=False),
        "<<": Below(code),
        "<!": Having("parent", frozenset({code})),
        ">": Above(code, itself=False),
        ">>": Above(code),
        ">!": Having("child", frozenset({code})),
        "^": Having(MEMBER_OF, frozenset({code})),
    }
    return found[operator]
