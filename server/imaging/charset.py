"""Specific Character Set: bytes to text (PS3.3 C.12.1.1.2, PS3.5 6.1 and annexes H to K).

Never raises: what can't be decoded becomes U+FFFD in the index, while the file keeps its bytes.
"""

import re
from functools import lru_cache

from pydicom.charset import CODES_TO_ENCODINGS, python_encoding

_DEFAULT = "latin_1"
_ESCAPED = re.compile(rb"(^[^\x1b]+|\x1b[^\x1b]*)")
#: Python's codecs for these take the escape sequences themselves.
_KEEP_ESCAPE = ("iso2022_jp", "iso2022_jp_2")
#: Python has no codec under pydicom's name: G1 of ISO-IR 58 is GB 2312 (EUC-CN).
_PYTHON_NAME = {"iso_ir_58": "gb2312", "iso8859": "latin_1"}
_ASCII_TERMS = ("", "ISO_IR 6", "ISO 2022 IR 6")
#: Codecs of sets that an escape sequence puts below 80.
_SEVEN_BIT = ("ascii", "shift_jis", "iso2022_jp", "iso2022_jp_2")
#: Defined terms written in ways that senders are known for.
_NORMAL = re.compile(r"^ISO[-_ ]?(?:(2022)[-_ ])?IR[-_ ]?(\d+)$", re.IGNORECASE)


class Charset:
    """One value of (0008,0005), ready to decode."""

    __slots__ = ("_first", "_plain")

    def __init__(self, terms: tuple[str, ...]) -> None:
        self._first = _codec(terms[0]) if terms else _DEFAULT
        if len(terms) > 1 and terms[0] in _ASCII_TERMS:
            # ISO-IR 6 has no byte above 7F: what some writers put there without its escape is of the next set that has.
            self._first = next((codec for codec in map(_codec, terms[1:]) if codec not in _SEVEN_BIT), _DEFAULT)
        #: Whether ASCII bytes without escape mean ASCII.
        self._plain = self._first != "shift_jis"

    def decode(self, value: bytes, delimiters: bytes = b"\\") -> str:
        """The text; ``delimiters`` are the characters that reset the code extension (PS3.5 6.1.2.5.3)."""
        if value.isascii() and self._plain and b"\x1b" not in value:
            return value.decode("ascii")
        if b"\x1b" not in value:
            return value.decode(self._first, "replace")
        return "".join(self._fragment(part, delimiters) for part in _ESCAPED.findall(value))

    def _fragment(self, part: bytes, delimiters: bytes) -> str:
        if not part.startswith(b"\x1b"):
            return part.decode(self._first, "replace")
        size = 4 if part.startswith((b"\x1b$(", b"\x1b$)")) else 3
        encoding = CODES_TO_ENCODINGS.get(part[:size], "")
        if encoding in _KEEP_ESCAPE:
            return str(part.decode(encoding, "replace"))
        body = part[size:]
        cut = next((i for i, byte in enumerate(body) if byte in delimiters), len(body))
        codec = _PYTHON_NAME.get(encoding, encoding) or self._first
        return body[:cut].decode(codec, "replace") + body[cut:].decode(self._first, "replace")


def _codec(term: str) -> str:
    """Python's codec for one defined term; an unknown term is read as UTF-8's superset of ASCII."""
    encoding = python_encoding.get(term)
    if encoding is None and (match := _NORMAL.match(term)):
        extended, number = match.groups()
        encoding = python_encoding.get(f"ISO 2022 IR {number}" if extended else f"ISO_IR {number}")
    if encoding in _KEEP_ESCAPE:
        return "ascii" if encoding == "iso2022_jp_2" else "shift_jis"
    return _PYTHON_NAME.get(encoding or "utf_8", encoding or "utf_8")


@lru_cache(maxsize=256)
def charset_of(terms: tuple[str, ...]) -> Charset:
    """The same Charset for the same terms."""
    return Charset(terms)


ASCII = charset_of(())
