"""Words of a narrative (_text) or of a whole resource (_content): https://hl7.org/fhir/R4/search.html#text

Whole words are found, without case and accents; of Chinese, Japanese and Korean text every two neighbouring characters
count as a word. Words are joined by ``and`` (or nothing), ``or`` and ``not``, with parentheses.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, func, literal, type_coerce
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from server.errors import BadRequest, TooLarge
from server.search.entry import Entry
from server.search.query import AllOf, AnyOf, Criterion, Not, Values
from server.search.text import unescape
from server.store.tables.resources import TEXT_C
from terminology.words import LONGEST_WORD, asked, indexed

#: The parameters that words are found by.
CODES = frozenset({"_text", "_content"})
MODIFIERS: frozenset[str] = frozenset()
Columns = ReadOnlyColumnCollection[str, Any]
#: Different words of one resource that are kept.
MOST_WORDS = 5000
#: Parentheses within each other, and words of one query.
DEEPEST = 10
MOST_ASKED = 100
_ASCII_WORD = re.compile(r"[a-z0-9]+")
_TAG = re.compile(r"<[^<>]*>|&[a-zA-Z0-9#]+;")
#: Elements that hold addresses and bytes rather than words.
_NO_WORDS = frozenset({"resourceType", "id", "meta", "reference", "system", "url", "data", "contentType"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Operand:
    """All of these words."""

    kind: ClassVar[str] = "words"
    words: tuple[str, ...]
    suffix: str = ""


def entries(code: str, resource: dict[str, Any]) -> Iterator[Entry]:
    """The index row of a resource for ``_text`` or ``_content``."""
    if code == "_text":
        narrative = resource.get("text")
        texts = iter([str(narrative.get("div", ""))] if isinstance(narrative, dict) else [])
    else:
        texts = _texts(resource)
    found: dict[str, None] = {}
    for text in _joined(texts):
        found.update(dict.fromkeys(_words(text)))
        if len(found) > MOST_WORDS:
            break
    if found:
        yield Entry("words", (" ".join(list(found)[:MOST_WORDS]),))


def _joined(texts: Iterator[str]) -> list[str]:
    """The texts without tags; as one where that is the same, which is faster."""
    plain = [_TAG.sub(" ", text) if "<" in text else text for text in texts]
    whole = " ".join(plain)
    return [whole] if whole.isascii() else plain


def _words(text: str) -> Iterable[str]:
    """As ``indexed``, faster for plain text."""
    words = _ASCII_WORD.findall(text.lower()) if text.isascii() else []
    return words if words and len(max(words, key=len)) <= LONGEST_WORD else indexed(text)


def _texts(value: Any) -> Iterator[str]:
    """Every text in the value, in its order."""
    found: list[str] = []
    _collect(value, found)
    return iter(found)


def _collect(value: Any, found: list[str]) -> None:
    if type(value) is str:
        found.append(value)
    elif type(value) is dict:
        for name, inner in value.items():
            if name not in _NO_WORDS:
                _collect(inner, found)
    elif type(value) is list:
        for inner in value:
            _collect(inner, found)


def criterion(resource_type: str, code: str, value: str) -> Criterion:
    """The criterion of a query's text; BadRequest when it can't be understood."""
    tokens = re.findall(r"[()]|[^\s()]+", unescape(value))
    if len(tokens) > MOST_ASKED:
        raise TooLarge(f"At most {MOST_ASKED} words are looked for at once.")
    reader = _Reader(resource_type, code, tokens)
    found = reader.either(0)
    if found is None or reader.tokens:
        raise BadRequest("Words are joined by 'and', 'or' and 'not', with parentheses in pairs.")
    return found


class _Reader:
    """Takes a query's text apart; ``or`` binds weakest, ``not`` strongest."""

    def __init__(self, resource_type: str, code: str, tokens: list[str]) -> None:
        self._place = (resource_type, code)
        self.tokens = tokens

    def either(self, depth: int) -> Criterion | None:
        found = [self._all(depth)]
        while self.tokens and self.tokens[0].lower() == "or":
            self.tokens.pop(0)
            found.append(self._all(depth))
        whole = tuple(each for each in found if each is not None)
        if len(whole) < len(found):
            return None
        return whole[0] if len(whole) == 1 else AnyOf(criteria=whole)

    def _all(self, depth: int) -> Criterion | None:
        found: list[Criterion] = []
        while self.tokens and self.tokens[0] != ")" and self.tokens[0].lower() != "or":
            if self.tokens[0].lower() == "and" and found and len(self.tokens) > 1:
                self.tokens.pop(0)
            one = self._one(depth)
            if one is None:
                return None
            found.append(one)
        return AllOf(criteria=tuple(found)) if len(found) > 1 else found[0] if found else None

    def _one(self, depth: int) -> Criterion | None:
        if not self.tokens:
            return None
        token = self.tokens.pop(0)
        if depth > DEEPEST:
            raise TooLarge(f"Parentheses are taken up to {DEEPEST} deep.")
        if token.lower() == "not":
            inner = self._one(depth + 1)
            return None if inner is None else Not(criterion=inner)
        if token == "(":
            within = self.either(depth + 1)
            if within is None or not self.tokens or self.tokens.pop(0) != ")":
                return None
            return within
        words = tuple(asked(token))
        if token.lower() in (")", "and", "or") or not words:
            return None
        operand = Operand(words=words)
        return Values(resource_types=(self._place[0],), code=self._place[1], operands=(operand,))


def clause(operand: Operand, columns: Columns) -> ColumnElement[bool]:
    """The operand over the column of index_words."""
    words = func.string_to_array(columns["words"], literal(" ", literal_execute=True), type_=ARRAY(TEXT_C))
    found: ColumnElement[bool] = words.contains(type_coerce(list(operand.words), ARRAY(TEXT_C)))
    return found


def matches(operand: Operand, values: tuple[Any, ...]) -> bool:
    """The same, for one row in memory."""
    return set(operand.words) <= set(str(values[0]).split(" "))
