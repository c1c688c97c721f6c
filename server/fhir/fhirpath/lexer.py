"""FHIRPath text into tokens: https://hl7.org/fhirpath/N1/#lexical-elements."""

import re
from typing import NamedTuple

from server.errors import BadRequest


class Token(NamedTuple):
    """One lexical element."""

    #: "number", "string", "temporal", "time", "word", "quoted" (a delimited identifier), "variable", "dollar",
    #: "symbol" or "end".
    kind: str
    #: Its text, unescaped for strings and delimited identifiers.
    text: str
    #: Characters before it.
    at: int


_CLOCK = r"\d{2}(?::\d{2}(?::\d{2}(?:\.\d+)?)?)?"
_PATTERN = re.compile(
    r"(?P<space>[ \t\r\n\f\u00a0]+|//[^\r\n]*|/\*.*?\*/)"
    rf"|@T(?P<time>{_CLOCK})"
    rf"|@(?P<temporal>\d{{4}}(?:-\d{{2}}(?:-\d{{2}})?)?(?:T(?:{_CLOCK})?(?:Z|[+-]\d{{2}}:\d{{2}})?)?)"
    r"|(?P<number>\d+(?:\.\d+)?)"
    r"|'(?P<string>(?:[^'\\]|\\.)*)'"
    r"|`(?P<quoted>(?:[^`\\]|\\.)*)`"
    r"|%(?P<variable>[A-Za-z_][A-Za-z0-9_-]*|`(?:[^`\\]|\\.)*`|'(?:[^'\\]|\\.)*')"
    r"|\$(?P<dollar>this|index|total)"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<symbol><=|>=|!=|!~|[-+*/&|<>=~.,()\[\]{}])",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPED = {"r": "\r", "n": "\n", "t": "\t", "f": "\f", "/": "/", "\\": "\\", "'": "'", '"': '"', "`": "`"}


def unescape(text: str) -> str:
    """Resolve the escapes of a string literal or delimited identifier (FHIRPath N1, 4.1 String)."""
    if "\\" not in text:
        return text

    def replace(match: re.Match[str]) -> str:
        escaped = match[1]
        if len(escaped) == 5:
            return chr(int(escaped[1:], 16))
        return _ESCAPED.get(escaped, escaped)

    return _ESCAPE.sub(replace, text)


def tokens(text: str) -> list[Token]:
    """The lexical elements of an expression and an "end" token; BadRequest names the first character it can't read."""
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _PATTERN.match(text, at)
        if match is None or (text.startswith("/*", at) and match.lastgroup != "space"):
            raise BadRequest(
                f"FHIRPath: can't read {text[at : at + 12]!r} at character {at + 1}; "
                "check quotes, comments and operators",
                expression=text,
            )
        kind = match.lastgroup or "space"
        if kind != "space":
            body = match[kind]
            if kind == "variable" and body[0] in "`'":
                body = unescape(body[1:-1])
            elif kind in ("string", "quoted"):
                body = unescape(body)
            found.append(Token(kind, body, at))
        at = match.end()
    found.append(Token("end", "", at))
    return found
