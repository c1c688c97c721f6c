"""Words of a text: without case and accents; of Chinese, Japanese and Korean every two neighbouring characters."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache

#: Characters of one word.
LONGEST_WORD = 64
_SPACES = re.compile(r"\s+")
_WORD = re.compile(r"[^\W_]+")
_RUN = re.compile("[぀-ヿ㐀-䶿一-鿿豈-﫿가-힯]+")


@lru_cache(maxsize=8192)
def fold(value: str) -> str:
    """Case, accents and runs of spaces removed: https://hl7.org/fhir/R4/search.html#string"""
    if value.isascii():
        folded = value.lower()
    else:
        decomposed = unicodedata.normalize("NFKD", value.casefold())
        folded = "".join(character for character in decomposed if not unicodedata.combining(character))
    return storable(_SPACES.sub(" ", folded).strip())


def storable(value: str) -> str:
    """Without U+0000, which PostgreSQL's text can't hold."""
    return value.replace("\x00", "") if "\x00" in value else value


def indexed(text: str) -> Iterator[str]:
    """The words that a text is found by."""
    for word in _WORD.findall(fold(text)):
        if word.isascii():
            yield word[:LONGEST_WORD]
        else:
            for part in _parts(word):
                yield from part
                yield from asked(part) if _RUN.fullmatch(part) else [part[:LONGEST_WORD]]


def asked(text: str) -> Iterator[str]:
    """The words that a query's word stands for."""
    for word in _WORD.findall(fold(text)):
        for part in _parts(word):
            if _RUN.fullmatch(part) and len(part) > 1:
                yield from (part[at : at + 2] for at in range(len(part) - 1))
            else:
                yield part[:LONGEST_WORD]


def begun(wanted: Iterable[str], texts: Iterable[str]) -> bool:
    """Whether each of the words is the beginning of some word of the texts."""
    there = {word for text in texts for word in indexed(text)}
    return all(any(word.startswith(one) for word in there) for one in wanted)


def _parts(word: str) -> Iterator[str]:
    """Runs of characters that are words by themselves, and what is between them."""
    at = 0
    for run in _RUN.finditer(word):
        if run.start() > at:
            yield word[at : run.start()]
        yield run.group()
        at = run.end()
    if at < len(word):
        yield word[at:]
