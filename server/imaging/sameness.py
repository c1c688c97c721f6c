"""Whether two instances with one SOP Instance UID are the same.

"Same content" ignores group 0002, group lengths, trailing padding (FFFC,FFFC), padding of public text, whether lengths
of sequences are defined, and which of the native transfer syntaxes encodes it. Asked only when two files with one UID
differ in their bytes, so ingest pays nothing for it.
"""

import hashlib
import struct

from server.imaging import part10
from server.imaging.dataset import UNDEFINED, Buffer, DatasetReader, Limits
from server.imaging.guard import MAX_INFLATED, GuardLimits
from server.imaging.json_model import CONVERT

_NUMERIC = frozenset({"US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT"})
_PADDED = frozenset(CONVERT) - _NUMERIC
_TRAILING_PADDING = 0xFFFCFFFC


class _Digest:
    """SHA-256 over tags and values."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def value(self, tag: int, vr: str, raw: bytes) -> None:
        if tag == _TRAILING_PADDING:
            return
        # The VR of private elements is lost in implicit VR, so nothing may depend on it.
        if vr in _PADDED and not tag >> 16 & 1:
            raw = raw.rstrip(b"\0 ")
        self.sha256.update(struct.pack("<IQ", tag, len(raw)))
        self.sha256.update(raw)

    def mark(self, tag: int) -> None:
        self.sha256.update(struct.pack("<IQ", tag, UNDEFINED))


def content_digest(buffer: Buffer, start: int, end: int, limits: GuardLimits) -> bytes:
    """SHA-256 of what the file in ``buffer[start:end]`` says; raises BadInstance where it is not sound."""
    meta = part10.read_meta(buffer, start, end)
    digest = _Digest()
    bounds = Limits(depth=limits.sequence_depth)
    if meta.transfer_syntax == part10.DEFLATED:
        buffer = part10.inflate(buffer, meta.dataset_offset, end, ratio=limits.inflate_ratio, limit=MAX_INFLATED)
        DatasetReader(buffer, bounds, digest=digest).read(0, len(buffer), explicit=True)
    else:
        big_endian = meta.transfer_syntax == part10.EXPLICIT_BIG
        reader = DatasetReader(buffer, bounds, big_endian=big_endian, digest=digest)
        reader.read(meta.dataset_offset, end, explicit=meta.transfer_syntax != part10.IMPLICIT_LITTLE)
    if meta.transfer_syntax not in part10.NATIVE:
        digest.sha256.update(meta.transfer_syntax.encode("ascii"))
    return digest.sha256.digest()
