"""Specific Character Set the other way: text to bytes (PS3.5 6.1.2, annexes H to K; PS3.3 tables C.12-2 to C.12-5)."""

from collections.abc import Sequence
from functools import lru_cache

from pydicom.charset import ENCODINGS_TO_CODES, python_encoding

UTF8 = "ISO_IR 192"
#: Terms that stand alone: no code extension, every character by the one codec.
_WHOLE = {"ISO_IR 192": "utf_8", "GB18030": "gb18030", "GBK": "gbk"}
#: Python's codecs for pydicom's names of them, and those that give the escape sequences themselves.
_PYTHON = {"iso_ir_58": "gb2312", "iso8859": "ascii"}
_ESCAPING = ("iso2022_jp", "iso2022_jp_2")
_ASCII, _ROMAN = b"\x1b(B", b"\x1b(J"
#: Whatever is designated is forgotten at line ends too (PS3.5 6.1.2.5.3).
_LINE_ENDS = "\r\n\f\t"


def known(terms: Sequence[str]) -> bool:
    """Whether text can be written under these terms at all."""
    return all(term in python_encoding for term in terms)


class CharsetWriter:
    """One value of (0008,0005), ready to encode."""

    __slots__ = ("_codecs", "_extended", "_plain", "_whole")

    def __init__(self, terms: Sequence[str]) -> None:
        first = terms[0] if terms else ""
        self._whole = _WHOLE.get(first, "")
        self._codecs = tuple(python_encoding[term] for term in terms) or ("iso8859",)
        self._extended = len(terms) > 1
        self._plain = _ROMAN if self._codecs[0] == "shift_jis" else _ASCII

    def encode(self, text: str, delimiters: str = "\\") -> bytes:
        """The bytes; ``delimiters`` reset the code extension. Raises UnicodeEncodeError for what does not fit."""
        if text.isascii():
            return text.encode("ascii")
        if self._whole:
            return text.encode(self._whole)
        out, graphic0, graphic1 = bytearray(), self._plain, self._first()
        for character in text:
            if character.isascii():
                if graphic0 != self._plain:
                    out += self._plain
                    graphic0 = self._plain
                if character in delimiters or character in _LINE_ENDS:
                    graphic1 = self._first()
                out += character.encode("ascii")
                continue
            escape, value = self._written(character)
            if escape.startswith((b"\x1b$B", b"\x1b$(")):
                out += escape if graphic0 != escape else b""
                graphic0 = escape
            else:
                out += escape if graphic1 != escape else b""
                graphic1 = escape
            out += value
        return bytes(out + (self._plain if graphic0 != self._plain else b""))

    def _first(self) -> bytes:
        """What the upper half means before any escape."""
        return ENCODINGS_TO_CODES[self._codecs[0]] if self._codecs[0] != "iso8859" else b""

    def _written(self, character: str) -> tuple[bytes, bytes]:
        for codec in self._codecs if self._extended else self._codecs[:1]:
            found = _character(character, codec)
            if found is not None:
                return found
        raise UnicodeEncodeError(self._codecs[0], character, 0, 1, "not in the character sets asked for")


@lru_cache(maxsize=1 << 16)
def _character(character: str, codec: str) -> tuple[bytes, bytes] | None:
    """The escape sequence that designates the codec's set, and the character's bytes in it; None if it has none."""
    escape = ENCODINGS_TO_CODES[codec]
    try:
        value = character.encode(_PYTHON.get(codec, codec))
    except UnicodeEncodeError:
        return None
    if codec in _ESCAPING:
        return (escape, value[len(escape) : -3]) if value.startswith(escape) else None
    # JIS X 0201 has one byte for each character; Python's codec brings the two-byte ones of JIS X 0208 too.
    return (escape, value) if codec != "shift_jis" or len(value) == 1 else None
