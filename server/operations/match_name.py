"""How alike the names of two people are, in Latin letters and in Chinese characters.

https://hl7.org/fhir/R4/datatypes.html#HumanName
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from server.search.text import fold

#: Written without spaces: the parts are not told apart, the whole is compared.
_UNSPACED = re.compile("[\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]")
_NO_LETTER = re.compile(r"[\W_]+")
#: Likeness (Jaro and Winkler) from which on two words may be one that is misspelt.
_MISSPELT = 0.92
#: The best finding first.
_ORDER = ("same", "near", "given", "family", "other")


@dataclass(frozen=True, kw_only=True, slots=True)
class Name:
    """One name, folded."""

    family: str
    given: str
    #: All letters, without spaces.
    whole: str
    words: frozenset[str]

    @property
    def is_unspaced(self) -> bool:
        """Whether it is in Chinese, Japanese or Korean characters."""
        return bool(_UNSPACED.search(self.whole))


def names_alike(one: Iterable[Mapping[str, Any]], other: Iterable[Mapping[str, Any]]) -> str:
    """The best finding of any two names: same, near, given, family (only that is the same), other; "" for none."""
    pairs = {_compared(a, b) for a in read(one) for b in read(other)}
    return next((finding for finding in _ORDER if finding in pairs), "")


def read(names: Iterable[Mapping[str, Any]]) -> list[Name]:
    """Names that say something; the text where there are no parts, its last word being the family's."""
    found = []
    for name in names:
        given = [str(part) for part in name.get("given") or () if part]
        family = str(name.get("family") or "")
        if not given and not family:
            family, given = _parts(str(name.get("text") or ""))
        words_of = frozenset(_plain(word) for part in (family, *given) for word in part.split()) - {""}
        if words_of:
            whole = _plain(family) + "".join(_plain(part) for part in given)
            found.append(
                Name(family=_plain(family), given=_plain(given[0]) if given else "", whole=whole, words=words_of)
            )
    return found


def _parts(text: str) -> tuple[str, list[str]]:
    """Family's and given names of a text: its last word and those before; all of it where words are not divided."""
    if _UNSPACED.search(text):
        return text, []
    words = fold(text).replace("^", " ").split()
    return (words[-1], words[:-1]) if words else ("", [])


def _plain(text: str) -> str:
    return _NO_LETTER.sub("", fold(text))


def _compared(one: Name, other: Name) -> str:
    if one.whole == other.whole or one.words == other.words:
        return "same"
    if one.is_unspaced or other.is_unspaced:
        return _unspaced(one, other)
    family, given = _word(one.family, other.family), _word(one.given, other.given)
    if family == "same" and given == "same":
        # Further given names are often left out.
        return "same" if one.words <= other.words or other.words <= one.words else "near"
    if "other" not in (family, given) or (one.family, one.given) == (other.given, other.family):
        return "near"
    return "family" if given == "other" and family != "other" else "given" if given != "other" else "other"


def _unspaced(one: Name, other: Name) -> str:
    """Of three characters or more one may be mistaken; else a shared first one, the family's, is little."""
    if one.is_unspaced != other.is_unspaced:
        # Another script says nothing.
        return ""
    mistaken = sum(a != b for a, b in zip(one.whole, other.whole, strict=False)) + abs(
        len(one.whole) - len(other.whole)
    )
    if len(one.whole) >= 3 and mistaken == 1 and one.whole[0] == other.whole[0]:
        return "given"
    return "family" if one.whole[0] == other.whole[0] else "other"


def _word(one: str, other: str) -> str:
    """Same, near (an initial, or misspelt) or other; what one of them does not say is near."""
    if one == other:
        return "same"
    if not one or not other or (1 in (len(one), len(other)) and one[0] == other[0]):
        return "near"
    return "near" if similarity(one, other) >= _MISSPELT else "other"


@lru_cache(maxsize=4096)
def similarity(one: str, other: str) -> float:
    """Likeness of two words by Jaro and Winkler: 0 for none, 1 for the same."""
    if one == other:
        return 1.0
    reach = max(max(len(one), len(other)) // 2 - 1, 0)
    taken = [False] * len(other)
    common = []
    for place, character in enumerate(one):
        for there in range(max(0, place - reach), min(len(other), place + reach + 1)):
            if not taken[there] and other[there] == character:
                taken[there] = True
                common.append(character)
                break
    if not common:
        return 0.0
    matched = [character for character, used in zip(other, taken, strict=True) if used]
    exchanged = sum(a != b for a, b in zip(common, matched, strict=True)) / 2
    count = len(common)
    jaro = (count / len(one) + count / len(other) + (count - exchanged) / count) / 3
    start = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return jaro + min(start, 4) * 0.1 * (1 - jaro)
