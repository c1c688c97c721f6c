"""_filter: https://hl7.org/fhir/R4/search_filter.html

``and`` and ``or`` are carried out from left to right, as the standard has it. A comparison holds when one of the
parameter's values meets it, ``ne`` too.
"""

import json
import re
from dataclasses import dataclass

from server.errors import BadRequest, TooLarge

#: What a path's step may be named: a search parameter, and a type after a colon.
_STEP = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(:[A-Za-z]+)?")
_WORD = re.compile(r"[A-Za-z]+")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_TOKEN = re.compile(r"[^\s\])]+")
OPERATORS = (
    "eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le", "ap", "sa", "eb", "pr", "po", "ss", "sb", "in", "ni", "re",
)  # fmt: skip
#: Parentheses and brackets within each other, and characters of a filter.
DEEPEST = 20
LONGEST = 20_000


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path: a parameter, with what else the resources that it leads to must meet."""

    name: str
    type: str = ""
    condition: "Filter | None" = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison."""

    path: tuple[Step, ...]
    operator: str
    value: str


@dataclass(frozen=True, slots=True)
class Logical:
    """Both (and) or either (or) of two filters."""

    operator: str
    left: "Filter"
    right: "Filter"


@dataclass(frozen=True, slots=True)
class Negated:
    """A filter that does not hold."""

    filter: "Filter"


Filter = Comparison | Logical | Negated


def parse(text: str) -> Filter:
    """The filter that a text is; BadRequest says where it can't be read."""
    if len(text) > LONGEST:
        raise TooLarge(f"A _filter has at most {LONGEST} characters.", expression="_filter")
    parser = _Parser(text)
    found = parser.filter(0)
    if parser.at < len(text):
        raise parser.error("'and', 'or' or the end")
    return found


class _Parser:
    """Reads from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0
        self._space()

    def error(self, wanted: str) -> BadRequest:
        """What is wrong at this place."""
        found = self._text[self.at : self.at + 20] or "the end"
        return BadRequest(f"_filter: {wanted} is wanted at character {self.at + 1}, before '{found}'.",
                          expression="_filter")  # fmt: skip

    def filter(self, depth: int) -> Filter:
        """One filter: tests joined by and, or."""
        if depth > DEEPEST:
            raise TooLarge(f"A _filter is taken up to {DEEPEST} parentheses deep.", expression="_filter")
        found = self._operand(depth)
        while (word := self._peek(_WORD)) in ("and", "or"):
            self._take(_WORD, word)
            found = Logical(word, found, self._operand(depth))
        return found

    def _operand(self, depth: int) -> Filter:
        if self._literal("("):
            found = self.filter(depth + 1)
            self._want(")")
            return found
        start = self.at
        if self._peek(_STEP) == "not":
            self._take(_STEP, "not")
            if self._literal("("):
                found = self.filter(depth + 1)
                self._want(")")
                return Negated(found)
            self.at = start
        path = self._path(depth)
        operator = self._peek(_WORD)
        if operator not in OPERATORS:
            raise self.error(f"an operator ({', '.join(OPERATORS)})")
        self._take(_WORD, operator)
        return Comparison(path, operator, self._value())

    def _path(self, depth: int) -> tuple[Step, ...]:
        steps = []
        while True:
            name, _, kind = self._take(_STEP, "a search parameter", space=False).partition(":")
            condition = None
            if self._text[self.at : self.at + 1] == "[":
                self._want("[")
                condition = self.filter(depth + 1)
                self._want("]", space=False)
            steps.append(Step(name, kind, condition))
            if self._text[self.at : self.at + 1] != ".":
                break
            self.at += 1
            if len(steps) > DEEPEST:
                raise TooLarge(f"A path of a _filter has at most {DEEPEST} steps.", expression="_filter")
        if condition is not None:
            raise self.error("a step behind the brackets")
        self._space()
        return tuple(steps)

    def _value(self) -> str:
        if self._text[self.at : self.at + 1] == '"':
            quoted = self._take(_STRING, "a closed string")
            try:
                return str(json.loads(quoted))
            except ValueError as error:
                raise self.error("a string as in JSON") from error
        return self._take(_TOKEN, "a value")

    def _peek(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self.at)
        return found.group() if found else ""

    def _take(self, pattern: re.Pattern[str], wanted: str, *, space: bool = True) -> str:
        found = self._peek(pattern)
        if not found:
            raise self.error(wanted)
        self.at += len(found)
        if space:
            self._space()
        return found

    def _literal(self, character: str) -> bool:
        if self._text[self.at : self.at + 1] != character:
            return False
        self.at += 1
        self._space()
        return True

    def _want(self, character: str, *, space: bool = True) -> None:
        if self._text[self.at : self.at + 1] != character:
            raise self.error(f"'{character}'")
        self.at += 1
        if space:
            self._space()

    def _space(self) -> None:
        while self.at < len(self._text) and self._text[self.at].isspace():
            self.at += 1
