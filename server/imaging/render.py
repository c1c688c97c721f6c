"""Frames as pictures for people (PS3.18 10.4.1.1.3), drawn in a pixel worker by the standard's pipeline."""

from collections.abc import Iterator, Sequence
from io import BytesIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from server.errors import NotAcceptable
from server.imaging import annotation, colour, decode, film, grayscale, overlay, presentation_state, segmentation
from server.imaging import attributes as read
from server.imaging.dataset import Attributes
from server.imaging.decode import Pixels
from server.imaging.frames import FLOATING, PixelFormat
from server.imaging.grayscale import Pipeline, Window
from server.imaging.head import Head, read_head
from server.imaging.part10 import NATIVE
from server.imaging.presentation_state import PresentationState
from server.imaging.rendering import FILM, LARGEST, Rendering, Viewport

_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/gif": "GIF"}
#: Milliseconds of a frame that has no time of its own.
_FRAME_TIME = 100.0
_MOST_PIXELS = 1 << 28
#: A palette of sixteen million pixels takes a tenth of a second to compress at the default level, at this one a third.
_PNG_LEVEL = 1


def draw(head: bytes, frames: Sequence[bytes], numbers: Sequence[int], wanted: Rendering, state: bytes = b"") -> bytes:
    """The frames (their numbers from 1) as one picture, or all of them as what moves; raises Unprocessable."""
    image = read_head(head)
    applied = presentation_state.parse(read_head(state), image) if state else None
    pictures = (_picture(image, raw, number, wanted, applied) for raw, number in zip(frames, numbers, strict=True))
    if wanted.media_type == FILM:
        return film.mp4(pictures, wanted.quality, frame_time(image))
    out = BytesIO()
    first = next(pictures)
    if wanted.media_type == "image/jpeg":
        if first.mode == "L":
            # The same bytes as Pillow's, in half the time.
            return bytes(imagecodecs.jpeg8_encode(np.asarray(first), level=wanted.quality))
        first.save(out, "JPEG", quality=wanted.quality)
    elif wanted.media_type == "image/png":
        first.save(out, "PNG", compress_level=_PNG_LEVEL)
    elif len(frames) > 1:
        first.save(out, "GIF", save_all=True, append_images=pictures, duration=frame_time(image), loop=0)
    else:
        first.save(out, _FORMATS[wanted.media_type])
    return out.getvalue()


def frame_time(head: Head) -> float:
    """Milliseconds of one frame: Frame Time, else by Recommended Display Frame Rate or Cine Rate (PS3.3 C.7.6.5)."""
    header = head.attributes
    time = read.number(header, "00181063")
    if time is not None and 1 <= time <= 60_000:
        return time
    rate = read.number(header, "00082144") or read.number(header, "00180040")
    return 1000.0 / rate if rate is not None and 0.01 <= rate <= 1000 else _FRAME_TIME


def _picture(head: Head, raw: bytes, number: int, wanted: Rendering, state: PresentationState | None) -> Image.Image:
    """One frame, drawn."""
    layout = head.layout
    if head.transfer_syntax in NATIVE:
        floating = any(key in head.attributes for key in FLOATING)
        pixels = decode.native(raw, layout, floating=floating)
        # What is no number is shown as the lowest.
        pixels = np.nan_to_num(pixels, nan=0.0, posinf=0.0, neginf=0.0) if floating else pixels
    else:
        pixels = decode.decode(raw, head.transfer_syntax, layout)
    layout = decode.decoded_format(head.transfer_syntax, layout)
    shown, window = _shown(head, pixels, layout, number, wanted, state)
    for mask in overlay.overlays(head, pixels, layout, number):
        shown = shown.copy() if not shown.flags.writeable else shown
        shown[mask] = 255
    image = Image.fromarray(shown)
    if state is not None:
        image = presentation_state.finish(image, state)
    image = _fitted(_square(image, head, state), wanted.viewport)
    return annotation.write(image, head.attributes, wanted.annotations, window) if wanted.annotations else image


def _shown(
    head: Head, pixels: Pixels, layout: PixelFormat, number: int, wanted: Rendering, state: PresentationState | None
) -> tuple[NDArray[np.uint8], Window | None]:
    """Display values, and the window by which they were made."""
    if layout.photometric == "PALETTE COLOR":
        return colour.palette(pixels, head), None
    if layout.samples >= 3:
        return colour.rgb(pixels, layout), None
    if segmentation.is_segmentation(head.attributes):
        return segmentation.shown(pixels, layout, head, number), None
    pipeline: Pipeline = grayscale.of_image(head, number, wanted.window)
    if state is not None:
        pipeline = presentation_state.applied(pipeline, state, wanted.window)
    if layout.bits_allocated == 1:
        return np.where((pixels > 0) != pipeline.inverted, 255, 0).astype(np.uint8), None
    values = grayscale.stored_values(pixels, layout, head.attributes)
    return grayscale.eight_bits(values, pipeline), pipeline.voi if isinstance(pipeline.voi, tuple) else None


def _square(image: Image.Image, head: Head, state: PresentationState | None) -> Image.Image:
    """With square pixels: by Pixel Aspect Ratio (0028,0034), or the spacings of rows and columns."""
    ratio = (state.aspect if state is not None else None) or next(_ratios(head.attributes), None)
    if ratio is None or abs(ratio - 1) < 1e-3 or not 0.01 < ratio < 100:
        return image
    size = (image.width, round(image.height * ratio)) if ratio > 1 else (round(image.width / ratio), image.height)
    return image.resize(_bounded(*size), Image.Resampling.BILINEAR)


def _ratios(header: Attributes) -> Iterator[float]:
    """Height over width of a pixel, by each attribute that says it."""
    for key in ("00280034", "00280030", "00181164"):
        sizes = [float(value) for value in read.values(header, key) if isinstance(value, int | float)]
        if len(sizes) == 2 and sizes[0] > 0 and sizes[1] > 0:
            yield sizes[0] / sizes[1]


def _bounded(width: float, height: float) -> tuple[int, int]:
    if width * height > _MOST_PIXELS:
        raise NotAcceptable(f"A picture of more than {_MOST_PIXELS} pixels is not drawn; ask for a viewport.")
    return max(1, round(width)), max(1, round(height))


def _fitted(image: Image.Image, viewport: Viewport | None) -> Image.Image:
    """The wished part of the image in the viewport, its shape kept (PS3.18 8.3.5.1.3)."""
    if viewport is None:
        return image
    width = image.width - viewport.left if viewport.region_width is None else viewport.region_width
    height = image.height - viewport.top if viewport.region_height is None else viewport.region_height
    right, bottom = viewport.left + abs(width), viewport.top + abs(height)
    box = (max(viewport.left, 0.0), max(viewport.top, 0.0), min(right, image.width), min(bottom, image.height))
    if box[2] - box[0] < 1 or box[3] - box[1] < 1:
        raise NotAcceptable("The region of viewport has no pixel of the image.", expression="viewport")
    if width < 0:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        box = (image.width - box[2], box[1], image.width - box[0], box[3])
    if height < 0:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        box = (box[0], image.height - box[3], box[2], image.height - box[1])
    scale = min(viewport.width / (box[2] - box[0]), viewport.height / (box[3] - box[1]))
    size = (
        min(max(1, round((box[2] - box[0]) * scale)), LARGEST),
        min(max(1, round((box[3] - box[1]) * scale)), LARGEST),
    )
    whole = box == (0.0, 0.0, float(image.width), float(image.height))
    if whole and size == image.size:
        return image
    return image.resize(size, Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)
