"""ZIP archives whose members are stored as they are, written from front to back (PKWARE APPNOTE 6.3, zip64 included).

Sizes and checksums stand before each member, so that readers that take the archive as it arrives understand it too.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

_MOST, _MOST_MEMBERS = 0xFFFFFFFF, 0xFFFF
#: Version needed: 4.5 for zip64, else 2.0. Names are UTF-8 (flag bit 11). 1980-01-01 00:00, so that content decides.
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_END_64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR_64 = struct.Struct("<4sIQI")
_UTF_8, _MIDNIGHT, _FIRST_DAY = 1 << 11, 0, 0x21


@dataclass(frozen=True, slots=True)
class _Member:
    name: bytes
    size: int
    crc: int
    offset: int


class ZipWriter:
    """Makes everything of an archive but the members' bytes."""

    def __init__(self) -> None:
        self._members: list[_Member] = []
        self._offset = 0

    def header(self, name: str, size: int, crc: int) -> bytes:
        """What stands before the ``size`` bytes of a member with this CRC-32."""
        member = _Member(name.encode("utf-8"), size, crc, self._offset)
        self._members.append(member)
        large = size >= _MOST
        extra = struct.pack("<HHQQ", 1, 16, size, size) if large else b""
        shown = _MOST if large else size
        head = _LOCAL.pack(
            *(b"PK\3\4", 45 if large else 20, _UTF_8, 0, _MIDNIGHT, _FIRST_DAY, crc, shown, shown),
            *(len(member.name), len(extra)),
        )
        found = head + member.name + extra
        self._offset += len(found) + size
        return found

    def end(self) -> bytes:
        """The central directory, which ends the archive."""
        directory = b"".join(map(_central, self._members))
        start, count = self._offset, len(self._members)
        parts = [directory]
        if count > _MOST_MEMBERS - 1 or start + len(directory) >= _MOST:
            place = start + len(directory)
            parts.append(_END_64.pack(b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), start))
            parts.append(_LOCATOR_64.pack(b"PK\6\7", 0, place, 1))
        shown = min(count, _MOST_MEMBERS)
        parts.append(_END.pack(b"PK\5\6", 0, 0, shown, shown, min(len(directory), _MOST), min(start, _MOST), 0))
        return b"".join(parts)


def _central(member: _Member) -> bytes:
    large, far = member.size >= _MOST, member.offset >= _MOST
    numbers = [member.size, member.size] * large + [member.offset] * far
    extra = struct.pack(f"<HH{len(numbers)}Q", 1, 8 * len(numbers), *numbers) if numbers else b""
    size = _MOST if large else member.size
    head = _CENTRAL.pack(
        *(b"PK\1\2", 45, 45 if numbers else 20, _UTF_8, 0, _MIDNIGHT, _FIRST_DAY, member.crc, size, size),
        *(len(member.name), len(extra), 0, 0, 0, 0, _MOST if far else member.offset),
    )
    return head + member.name + extra


def length(members: Iterable[tuple[str, int]]) -> int:
    """Bytes of an archive of members with these names and sizes."""
    writer, total = ZipWriter(), 0
    for name, size in members:
        total += len(writer.header(name, size, 0)) + size
    return total + len(writer.end())
