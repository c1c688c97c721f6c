"""Tokens of GraphQL: https://spec.graphql.org/October2021/#sec-Language.Source-Text.Lexical-Tokens"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from server.errors import BadRequest, TooLarge

LONGEST = 100_000
MOST_TOKENS = 20_000

_TOKEN = re.compile(
    r"""(?P<ignored>[\s,\ufeff]+|\#[^\n\r]*)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<float>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)(?![\w.]))
    |(?P<int>-?(?:0|[1-9][0-9]*)(?![\w.]))
    |(?P<block>\"\"\"(?:\\\"\"\"|[^"]|\"(?!\"\"))*\"\"\")
    |(?P<string>\"(?:[^"\\\n\r]|\\.)*\")
    |(?P<sign>\.\.\.|[!$&()\[\]{}:=@|])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)")
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "/": "/"}


@dataclass(frozen=True, slots=True)
class Token:
    """One token; strings with their escapes resolved."""

    #: name, int, float, string, sign or end.
    kind: str
    text: str
    #: Where in the source, from 1.
    line: int


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a document, then one of kind ``end``; BadRequest names the line that makes no sense."""
    if len(text) > LONGEST:
        raise TooLarge(f"A GraphQL query has at most {LONGEST} characters.", expression="query")
    place, line, count = 0, 1, 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise BadRequest(f"GraphQL, line {line}: '{text[place]}' stands where nothing can.", expression="query")
        kind, found = str(match.lastgroup), match.group()
        if kind != "ignored":
            count += 1
            if count > MOST_TOKENS:
                raise TooLarge(f"A GraphQL query has at most {MOST_TOKENS} words and signs.", expression="query")
            yield _token(kind, found, line)
        line += found.count("\n")
        place = match.end()
    yield Token("end", "", line)


def _token(kind: str, found: str, line: int) -> Token:
    if kind == "string":
        return Token("string", _ESCAPE.sub(lambda match: _unescaped(match[1], line), found[1:-1]), line)
    if kind == "block":
        return Token("string", _block(found[3:-3].replace('\\"""', '"""')), line)
    return Token(kind, found, line)


def _unescaped(code: str, line: int) -> str:
    if code[0] == "u" and len(code) == 5:
        character = chr(int(code[1:], 16))
        if "\ud800" <= character <= "\udfff":
            raise BadRequest(f"GraphQL, line {line}: half of a character; write it as it is.", expression="query")
        return character
    if code not in _ESCAPED:
        raise BadRequest(f"GraphQL, line {line}: '\\{code}' is no escape.", expression="query")
    return _ESCAPED[code]


def _block(text: str) -> str:
    """A block string without its common indentation and empty lines at the ends."""
    lines = text.splitlines()
    indents = [len(one) - len(one.lstrip(" \t")) for one in lines[1:] if one.strip(" \t")]
    common = min(indents, default=0)
    lines = [*lines[:1], *(one[common:] for one in lines[1:])]
    while lines and not lines[0].strip(" \t"):
        lines.pop(0)
    while lines and not lines[-1].strip(" \t"):
        lines.pop()
    return "\n".join(lines)
