"""The grayscale pipeline: stored values, modality LUT, VOI LUT, presentation LUT (PS3.4 N.2, PS3.3 C.11.1 to C.11.6).

All of it is one table from stored values to display values where these are integers of up to 16 bits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.imaging import attributes as read
from server.imaging.dataset import Attributes
from server.imaging.decode import Pixels
from server.imaging.frames import PixelFormat
from server.imaging.head import Head
from server.imaging.rendering import FUNCTIONS

Values = NDArray[np.float64]
#: Centre, width and function.
Window = tuple[float, float, str]

#: Pixel Value Transformation and Frame VOI LUT Sequence (PS3.3 C.7.6.16.2.9 and .10).
_TRANSFORMATION, _FRAME_VOI = "00289145", "00289132"
#: Pixels that are looked up at once.
_STRETCH = 1 << 15
_MODALITY_LUT, _VOI_LUT, _PRESENTATION_LUT = "00283000", "00283010", "20500010"


@dataclass(frozen=True, kw_only=True)
class Lut:
    """A lookup table: the first stored value that it maps, its entries, and their greatest possible value."""

    first: int
    entries: Values
    top: float

    def __call__(self, values: Values) -> Values:
        """Values looked up; those outside take the nearest entry."""
        at = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1).astype(np.int64)
        found: Values = self.entries[at]
        return found


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """The transformations of one image, or of a presentation state in their place."""

    modality: Callable[[Values], Values]
    #: A LUT, a window, or None for what spans all values.
    voi: Lut | Window | None
    #: A presentation LUT over 0 to 1, if there is one.
    presentation: Lut | None = None
    inverted: bool = False
    #: Stored values that are no part of the image (Pixel Padding Value), lowest and highest.
    padding: tuple[float, float] | None = None


def of_image(head: Head, frame: int, window: Window | None) -> Pipeline:
    """What the header says of ``frame`` (from 1); ``window`` in place of its own."""
    header = head.attributes
    return Pipeline(
        modality=modality(head, {**header, **head.group(_TRANSFORMATION, frame)}),
        voi=window or voi(head, {**header, **head.group(_FRAME_VOI, frame)}),
        presentation=presentation(head, header),
        inverted=is_inverted(header, read.text(header, "00280004") == "MONOCHROME1"),
        padding=_padding(header),
    )


def modality(head: Head, header: Attributes) -> Callable[[Values], Values]:
    """The Modality LUT Sequence, else slope and intercept, of an RT dose its scaling (PS3.3 C.8.8.3)."""
    table = lut(head, header, _MODALITY_LUT)
    if table is not None:
        return table
    slope, intercept = read.number(header, "00281053"), read.number(header, "00281052")
    scaling = read.number(header, "3004000E")
    factor = (1.0 if slope is None else slope) * (1.0 if scaling is None else scaling)
    return lambda values: values * factor + (intercept or 0.0)


def voi(head: Head, header: Attributes) -> Lut | Window | None:
    """The VOI LUT Sequence's first table, else the first window that is one."""
    table = lut(head, header, _VOI_LUT)
    if table is not None:
        return table
    centre, width = read.number(header, "00281050"), read.number(header, "00281051")
    if centre is None or width is None or width < 1 or not np.isfinite([centre, width]).all():
        return None
    function = read.text(header, "00281056").lower().replace("_", "-")
    return centre, width, function if function in FUNCTIONS else "linear"


def presentation(head: Head, header: Attributes) -> Lut | None:
    """The Presentation LUT Sequence's table."""
    return lut(head, header, _PRESENTATION_LUT)


def is_inverted(header: Attributes, otherwise: bool) -> bool:
    """Presentation LUT Shape (2050,0020); without one, by the photometric interpretation."""
    shape = read.text(header, "20500020")
    return shape == "INVERSE" if shape in ("INVERSE", "IDENTITY") else otherwise


def lut(head: Head, header: Attributes, sequence: str) -> Lut | None:
    """The table of the first item of a sequence of LUTs (LUT Descriptor, PS3.3 C.11.1.1)."""
    for item in read.items(header, sequence)[:1]:
        descriptor = [value for value in read.values(item, "00283002") if isinstance(value, int)]
        words = head.words(item.get("00283006"))
        if len(descriptor) != 3 or not len(words):
            return None
        count, first, bits = descriptor[0] & 0xFFFF or 0x10000, descriptor[1], descriptor[2]
        if bits <= 8 and len(words) * 2 <= count + 1:
            # Eight bits an entry, packed by two into words.
            entries = words.view(np.uint8)[:count].astype(np.float64)
        else:
            entries = words[:count].astype(np.float64)
        return Lut(first=first, entries=entries, top=float((1 << min(max(bits, 8), 16)) - 1))
    return None


def stored_values(pixels: Pixels, layout: PixelFormat, header: Attributes) -> Pixels:
    """The bits of each cell that are the pixel's (High Bit), without what older images keep in the others."""
    if pixels.dtype.kind not in "iu" or layout.bits_allocated <= 8 or layout.bits_stored >= layout.bits_allocated:
        return pixels
    high = read.integer(header, "00280102")
    low = 0 if high is None else max(high + 1 - layout.bits_stored, 0)
    if not low and pixels.dtype.kind == "u" and pixels.size and not int(pixels.max()) >> layout.bits_stored:
        # Usual: nothing else is in the cells.
        return pixels
    spare = layout.bits_allocated - layout.bits_stored - low
    return pixels << max(spare, 0) >> (max(spare, 0) + low)


def eight_bits(pixels: Pixels, pipeline: Pipeline) -> NDArray[np.uint8]:
    """Stored values as display values, 0 to 255."""
    low, high = pixels.min(), pixels.max()
    if pixels.dtype.kind not in "iu" or int(high) - int(low) > 0xFFFF:
        return _shown(pixels.astype(np.float64), pipeline, pixels)
    domain = np.arange(int(low), int(high) + 1, dtype=np.float64)
    return _looked_up(_shown(domain, pipeline, pixels), pixels, low)


def _looked_up(table: NDArray[np.uint8], pixels: Pixels, low: Any) -> NDArray[np.uint8]:
    """The entry of each pixel, ``low`` being that of the first; by stretches whose indexes stay in the cache."""
    flat = np.ascontiguousarray(pixels).reshape(-1)
    shown = np.empty(flat.size, np.uint8)
    # Indexes of the machine's own width: numpy would turn any other into these, more slowly.
    indexes = np.empty(min(flat.size, _STRETCH), np.intp)
    for start in range(0, flat.size, _STRETCH):
        stretch = flat[start : start + _STRETCH]
        at = indexes[: stretch.size]
        np.subtract(stretch, low, out=at, dtype=np.intp, casting="unsafe")
        # No index is outside; "clip" only spares numpy the question.
        table.take(at, out=shown[start : start + _STRETCH], mode="clip")
    return shown.reshape(pixels.shape)


def _shown(values: Values, pipeline: Pipeline, pixels: Pixels) -> NDArray[np.uint8]:
    meant = pipeline.modality(values)
    shown = _voi(meant, pipeline.voi or _span(pixels, pipeline))
    if pipeline.presentation is not None:
        table = pipeline.presentation
        shown = table(shown * (len(table.entries) - 1) + table.first) / table.top
    if pipeline.inverted:
        shown = 1.0 - shown
    return np.asarray(np.clip(shown, 0.0, 1.0) * 255.0, np.uint8)


def _span(pixels: Pixels, pipeline: Pipeline) -> Window:
    """A window from the lowest to the highest value that is no padding."""
    kept: Any = pixels
    if pipeline.padding is not None:
        inside = (pixels < pipeline.padding[0]) | (pixels > pipeline.padding[1])
        kept = pixels[inside] if inside.any() else pixels
    ends = pipeline.modality(np.array([kept.min(), kept.max()], np.float64))
    if ends[0] == ends[1]:
        # One value alone is shown as the lowest.
        return float(ends[0]) + 0.5, 1.0, "linear-exact"
    return float(ends.mean()), float(abs(ends[1] - ends[0])), "linear-exact"


def _voi(values: Values, table: Lut | Window) -> Values:
    """Onto 0 to 1 (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    if isinstance(table, Lut):
        return table(values) / table.top
    centre, width, function = table
    if function == "sigmoid":
        return np.asarray(1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - centre) / width, -80.0, 80.0))))
    if function == "linear":
        return np.clip((values - (centre - 0.5)) / max(width - 1.0, 1e-6) + 0.5, 0.0, 1.0)
    return np.clip((values - centre) / width + 0.5, 0.0, 1.0)


def _padding(header: Attributes) -> tuple[float, float] | None:
    """Pixel Padding Value and Range Limit (PS3.3 C.7.5.1.1.2)."""
    value = read.number(header, "00280120")
    if value is None:
        return None
    limit = read.number(header, "00280121")
    return min(value, value if limit is None else limit), max(value, value if limit is None else limit)
