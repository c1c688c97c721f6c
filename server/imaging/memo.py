"""Elements that were read before: most of a header is the same in all instances of a series."""

from typing import Any

from server.imaging.charset import Charset

#: Elements as they stand encoded (explicit VR little endian, one character set) -> their key and DICOM JSON.
Known = dict[bytes, tuple[str, dict[str, Any]]]


class Memo:
    """Known elements by character set.

    The DICOM JSON of an element is then shared among data sets and must not be changed.
    """

    #: Elements kept, and the longest of them, bytes.
    MOST, LONGEST = 4096, 96

    def __init__(self) -> None:
        self._by_charset: dict[Charset, Known] = {}

    def of(self, charset: Charset) -> Known:
        """The elements read in this character set."""
        if len(self._by_charset) > 16 or sum(map(len, self._by_charset.values())) > self.MOST:
            self._by_charset = {}
        return self._by_charset.setdefault(charset, {})
