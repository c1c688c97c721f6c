"""Person names as they are searched for: folded, in component groups (PS3.5 6.2.1.1), and word by word.

Fuzzy matching (PS3.4 C.2.2.2.1.1 leaves its meaning to us): every word of the query begins some word of the name, in
any component and any group, without regard to case and accents. A Chinese, Japanese or Korean name is written without
spaces between its parts, so its words begin at every character, and its components joined are a word too.
"""

import re
from typing import Any

from server.imaging.attributes import fold_name

_DIVIDERS = re.compile(r"[\s^=,.;\-'\\]+")
_UNSPACED = re.compile("[\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]")
#: Words kept of one name, and characters of each.
_WORDS, _LETTERS = 48, 64


def name_text(value: Any) -> str:
    """A PN value of DICOM JSON as PS3.5 writes it: groups divided by "="."""
    if not isinstance(value, dict):
        return str(value)
    return "=".join(str(value.get(group) or "") for group in ("Alphabetic", "Ideographic", "Phonetic")).rstrip("=")


def groups(folded: str) -> list[str]:
    """The component groups of a folded name that say anything."""
    return [group for group in folded.split("=") if group]


def words(folded: str) -> list[str]:
    """The words of a folded name."""
    found: dict[str, None] = {}
    for group in groups(folded):
        parts = [part for part in _DIVIDERS.split(group) if part]
        components = ["".join(part for part in _DIVIDERS.split(component) if part) for component in group.split("^")]
        unspaced = [component for component in components if _UNSPACED.search(component)]
        found |= dict.fromkeys(part[:_LETTERS] for part in (*parts, *components) if part)
        for text in (*unspaced, "".join(unspaced)):
            found |= dict.fromkeys(text[at:][:_LETTERS] for at in range(len(text)))
    return list(found)[:_WORDS]


def query_words(text: str) -> tuple[str, ...]:
    """The beginnings of words that a query asks for; none for a query of wildcards alone."""
    parts = [part.strip("*")[:_LETTERS] for part in _DIVIDERS.split(fold_name(text))]
    return tuple(dict.fromkeys(part for part in parts if part))
