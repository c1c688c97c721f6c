"""What a client asks of a rendered resource (PS3.18 8.3.5.1); the drawing itself is done in the pixel workers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from server.errors import BadRequest

#: Media types of pictures, and of what moves, in the order of preference.
PICTURES = ("image/jpeg", "image/png", "image/gif")
FILM = "video/mp4"
#: Edge of a thumbnail, pixels.
THUMBNAIL = 128
#: Largest edge of what is drawn, pixels.
LARGEST = 8192
FUNCTIONS = ("linear", "linear-exact", "sigmoid")
_ANNOTATIONS = ("patient", "technique")
_PROFILES = ("no", "yes", "srgb", "adobergb", "rommrgb", "displayp3")


@dataclass(frozen=True, kw_only=True, slots=True)
class Viewport:
    """Where a part of the image goes (PS3.18 8.3.5.1.3)."""

    #: Pixels that the picture must fit into.
    width: int
    height: int
    #: Left, top, width and height of the part, in pixels of the image; a negative size turns it round; None: the whole.
    left: float = 0.0
    top: float = 0.0
    region_width: float | None = None
    region_height: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendering:
    """How an image is to be drawn."""

    media_type: str = "image/jpeg"
    #: None as it is.
    viewport: Viewport | None = None
    #: Centre, width and function; None for the instance's own.
    window: tuple[float, float, str] | None = None
    #: 1 to 100.
    quality: int = 90
    #: What is written on it: "patient", "technique".
    annotations: tuple[str, ...] = ()


def parse(parameters: Mapping[str, str], media_type: str) -> Rendering:
    """The query parameters; raises BadRequest that names the one that is wrong.

    ``iccprofile`` is checked and then has no effect, as PS3.18 8.3.5.1.5 allows: pictures are sRGB without a profile.
    """
    profile = parameters.get("iccprofile", "no")
    if profile not in _PROFILES:
        raise BadRequest(f"iccprofile must be one of {', '.join(_PROFILES)}.", expression="iccprofile")
    return Rendering(
        media_type=media_type,
        viewport=_viewport(parameters.get("viewport", "")),
        window=_window(parameters.get("window", "")),
        quality=_quality(parameters.get("quality", "90")),
        annotations=_annotations(parameters.get("annotation", "")),
    )


def of_message(message: Mapping[str, object]) -> Rendering:
    """What ``dataclasses.asdict`` and JSON made of a Rendering, back."""
    values = dict(message)
    viewport, window = values.get("viewport"), values.get("window")
    values["viewport"] = Viewport(**viewport) if isinstance(viewport, dict) else None
    values["window"] = tuple(window) if isinstance(window, list | tuple) else None
    noted = values.get("annotations")
    values["annotations"] = tuple(noted) if isinstance(noted, list | tuple) else ()
    return Rendering(**values)  # type: ignore[arg-type]


def _viewport(text: str) -> Viewport | None:
    if not text:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (2, 6) or not all(part.isdigit() and 1 <= int(part) <= LARGEST for part in parts[:2]):
        raise BadRequest(
            f"viewport must be width,height of 1 to {LARGEST} pixels, or these and left,top,width,height of a region.",
            expression="viewport",
        )
    try:
        region = [float(part) if part else None for part in parts[2:]] or [None] * 4
    except ValueError as error:
        raise BadRequest("The region of viewport must be numbers.", expression="viewport") from error
    left, top, width, height = region
    if any(value is not None and not math.isfinite(value) for value in region) or width == 0 or height == 0:
        raise BadRequest("The region of viewport must be finite and not empty.", expression="viewport")
    return Viewport(
        width=int(parts[0]), height=int(parts[1]), left=left or 0.0, top=top or 0.0,
        region_width=width, region_height=height,
    )  # fmt: skip


def _window(text: str) -> tuple[float, float, str] | None:
    if not text:
        return None
    parts = [*text.split(","), "linear"]
    try:
        centre, width, function = float(parts[0]), float(parts[1]), parts[2].strip().lower()
    except (ValueError, IndexError) as error:
        raise BadRequest("window must be centre,width,function.", expression="window") from error
    if not (math.isfinite(centre) and math.isfinite(width)) or width <= 0 or function not in FUNCTIONS:
        raise BadRequest(f"window needs a width above 0 and one of {', '.join(FUNCTIONS)}.", expression="window")
    return centre, width, function


def _quality(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 100:
        raise BadRequest("quality must be a whole number from 1 to 100.", expression="quality")
    return int(text)


def _annotations(text: str) -> tuple[str, ...]:
    asked = tuple(part.strip() for part in text.split(",") if part.strip())
    if not set(asked) <= set(_ANNOTATIONS):
        raise BadRequest(f"annotation must be of {', '.join(_ANNOTATIONS)}.", expression="annotation")
    return asked
