"""Frames as pictures for people (PS3.18 10.4.1.1.3 rendered and thumbnail resources, PS3.3 C.11.2 VOI LUT)."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from server.errors import BadRequest
from server.imaging import attributes as read
from server.imaging.dataset import Attributes
from server.imaging.decode import Pixels
from server.imaging.frames import PixelFormat

#: Media type -> Pillow's format.
FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/gif": "GIF"}
THUMBNAIL = 128
_LARGEST = 8192
_FUNCTIONS = ("linear", "linear-exact", "sigmoid")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendering:
    """What the client asks of a picture (PS3.18 8.3.5)."""

    media_type: str = "image/jpeg"
    #: Width and height in pixels that the picture must fit into; None as it is.
    viewport: tuple[int, int] | None = None
    #: Centre, width and function; None for the instance's own.
    window: tuple[float, float, str] | None = None
    #: 1 to 100.
    quality: int = 90


def parse(parameters: dict[str, str], media_type: str) -> Rendering:
    """The query parameters; raises BadRequest that names the one that is wrong."""
    return Rendering(
        media_type=media_type,
        viewport=_viewport(parameters.get("viewport", "")),
        window=_window(parameters.get("window", "")),
        quality=_quality(parameters.get("quality", "90")),
    )


def _viewport(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    parts = text.split(",")
    if len(parts) < 2 or not all(part.isdigit() and 1 <= int(part) <= _LARGEST for part in parts[:2]):
        raise BadRequest(f"viewport must be width,height of 1 to {_LARGEST} pixels.", expression="viewport")
    return int(parts[0]), int(parts[1])


def _window(text: str) -> tuple[float, float, str] | None:
    if not text:
        return None
    parts = [*text.split(","), "linear"]
    try:
        centre, width, function = float(parts[0]), float(parts[1]), parts[2]
    except (ValueError, IndexError) as error:
        raise BadRequest("window must be centre,width,function.", expression="window") from error
    if not np.isfinite([centre, width]).all() or width <= 0 or function not in _FUNCTIONS:
        raise BadRequest(f"window needs a width above 0 and one of {', '.join(_FUNCTIONS)}.", expression="window")
    return centre, width, function


def _quality(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 100:
        raise BadRequest("quality must be a whole number from 1 to 100.", expression="quality")
    return int(text)


def picture(pixels: Pixels, layout: PixelFormat, header: Attributes, wanted: Rendering) -> bytes:
    """One frame as an image file; palette colours are looked up before."""
    image = Image.fromarray(_eight_bits(pixels, layout, header, wanted.window))
    if wanted.viewport is not None:
        image.thumbnail(wanted.viewport)
        scale = min(wanted.viewport[0] / image.width, wanted.viewport[1] / image.height)
        if scale > 1:
            image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    out = BytesIO()
    options: dict[str, Any] = {"quality": wanted.quality} if wanted.media_type == "image/jpeg" else {}
    image.save(out, FORMATS[wanted.media_type], **options)
    return out.getvalue()


def _eight_bits(
    pixels: Pixels, layout: PixelFormat, header: Attributes, window: tuple[float, float, str] | None
) -> NDArray[np.uint8]:
    if layout.samples >= 3:
        return _colour(pixels, layout)
    if layout.bits_allocated == 1:
        return np.where(pixels > 0, 255, 0).astype(np.uint8)
    slope = read.number(header, "00281053")
    values = pixels.astype(np.float32) * (1.0 if slope is None else slope) + (read.number(header, "00281052") or 0.0)
    if window is None:
        window = _own_window(header, values)
    shown = _voi(values, *window)
    if layout.photometric == "MONOCHROME1":
        shown = 255.0 - shown
    return shown.astype(np.uint8)


def _own_window(header: Attributes, values: NDArray[np.float32]) -> tuple[float, float, str]:
    """The first window of the header; without one, what spans all values."""
    centre, width = read.number(header, "00281050"), read.number(header, "00281051")
    if centre is not None and width is not None and width >= 1:
        function = read.text(header, "00281056").lower().replace("_", "-")
        return centre, width, function if function in _FUNCTIONS else "linear"
    low, high = float(values.min()), float(values.max())
    return (low + high) / 2, max(high - low, 1.0), "linear-exact"


def _voi(values: NDArray[np.float32], centre: float, width: float, function: str) -> NDArray[np.float32]:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3, onto 0 to 255."""
    if function == "sigmoid":
        exponent = np.clip(-4.0 * (values - centre) / width, -80.0, 80.0)
        return np.asarray(255.0 / (1.0 + np.exp(exponent)), np.float32)
    if function == "linear":
        span = max(width - 1.0, 1e-6)
        fraction = (values - (centre - 0.5)) / span + 0.5
    else:
        fraction = (values - centre) / width + 0.5
    return np.asarray(np.clip(fraction, 0.0, 1.0) * 255.0, np.float32)


def _colour(pixels: Pixels, layout: PixelFormat) -> NDArray[np.uint8]:
    if layout.photometric.startswith("YBR_FULL") and layout.bits_allocated == 8:
        return np.asarray(Image.fromarray(pixels[..., :3].astype(np.uint8), "YCbCr").convert("RGB"))
    shift = max(layout.bits_stored - 8, 0)
    return (pixels[..., :3] >> shift).astype(np.uint8)
