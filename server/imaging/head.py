"""The header of an instance as the pixel workers read it: values, tables, and the functional groups of a frame."""

import base64
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.errors import BadInstance, Unprocessable
from server.imaging import attributes as read
from server.imaging import guard
from server.imaging.dataset import BULK, Attributes, DatasetReader
from server.imaging.frames import PixelFormat, pixel_format
from server.imaging.guard import GuardLimits
from server.imaging.part10 import EXPLICIT_BIG

_LIMITS = GuardLimits(instance_bytes=1 << 40, inflate_ratio=1 << 20, sequence_depth=64)
#: Shared and Per-Frame Functional Groups Sequence (PS3.3 C.7.6.16).
_SHARED, _PER_FRAME = "52009229", "52009230"


@dataclass(frozen=True)
class Head:
    """A data set, its pixels apart."""

    attributes: Attributes
    reader: DatasetReader
    transfer_syntax: str

    @cached_property
    def layout(self) -> PixelFormat:
        """How the pixels are stored; raises Unprocessable."""
        return pixel_format(self.attributes)

    def group(self, sequence: str, frame: int) -> Attributes:
        """The item of a functional group that holds for ``frame`` (from 1): its own, else the shared; else empty."""
        own = read.items(self.attributes, _PER_FRAME)[frame - 1 : frame]
        for groups in (*own, *read.items(self.attributes, _SHARED)[:1]):
            found = read.items(groups, sequence)
            if found:
                return found[0]
        return {}

    def binary(self, element: dict[str, Any] | None) -> bytes:
        """A binary value, wherever it is; numbers as little-endian words."""
        if not element:
            return b""
        if "InlineBinary" in element:
            return base64.b64decode(element["InlineBinary"])
        span = self.reader.bulk.get(str(element.get("BulkDataURI", "")).removeprefix(BULK))
        if span is not None:
            raw = self.reader.buffer[span.offset : span.offset + span.length]
            wide = self.transfer_syntax == EXPLICIT_BIG and span.vr in ("OW", "US", "SS")
            return np.frombuffer(raw[: len(raw) & ~1], ">u2").astype("<u2").tobytes() if wide else bytes(raw)
        values = [value for value in element.get("Value", ()) if isinstance(value, int)]
        return (np.array(values, np.int64) & 0xFFFF).astype("<u2").tobytes()

    def words(self, element: dict[str, Any] | None) -> NDArray[np.uint16]:
        """A table of 16-bit words."""
        raw = self.binary(element)
        return np.frombuffer(raw[: len(raw) & ~1], "<u2")


@lru_cache(maxsize=2)
def read_head(file: bytes) -> Head:
    """The header of a Part 10 file, which may end before its pixel data; raises Unprocessable.

    Kept for the next frame of the same instance: the functional groups of a large one take long to read.
    """
    try:
        meta, reader, found = guard.read(file, 0, len(file), _LIMITS)
    except BadInstance as error:
        raise Unprocessable(error.details, expression=error.issues[0].expression) from error
    return Head(attributes=found, reader=reader, transfer_syntax=meta.transfer_syntax)
