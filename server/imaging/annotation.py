"""Patient and technique written into a picture's corners (PS3.18 8.3.5.1.1)."""

from typing import Any

from PIL import Image, ImageDraw, ImageFont

from server.imaging import attributes as read
from server.imaging.dataset import Attributes
from server.imaging.grayscale import Window

_TECHNIQUE = (("00180060", "kV"), ("00181151", "mA"), ("00180050", "mm"), ("00180080", "ms TR"), ("00180081", "ms TE"))


def write(image: Image.Image, header: Attributes, kinds: tuple[str, ...], window: Window | None) -> Image.Image:
    """The picture with what is asked for on it, in white with a dark edge."""
    drawn = image.convert("RGB") if image.mode not in ("L", "RGB") else image.copy()
    pen = ImageDraw.Draw(drawn)
    font = ImageFont.load_default(max(10, drawn.height // 40))
    edge = max(2, drawn.height // 100)
    style: dict[str, Any] = {"font": font, "fill": "white", "stroke_width": 1, "stroke_fill": "black"}
    if "patient" in kinds:
        pen.multiline_text((edge, edge), "\n".join(_patient(header)), **style)
    if "technique" in kinds:
        text = "\n".join(_technique(header, window))
        pen.multiline_text((drawn.width - edge, edge), text, anchor="ra", align="right", **style)
    return drawn


def _patient(header: Attributes) -> list[str]:
    lines = [read.text(header, "00100010").replace("^", " ").strip(), read.text(header, "00100020")]
    lines.append(" ".join(filter(None, (read.text(header, "00100030"), read.text(header, "00100040")))))
    # The font has no other letters than these.
    return [line.encode("latin_1", "replace").decode("latin_1") for line in lines if line]


def _technique(header: Attributes, window: Window | None) -> list[str]:
    lines = [" ".join(filter(None, (read.text(header, "00080060"), read.text(header, "00080020"))))]
    for key, unit in _TECHNIQUE:
        value = read.number(header, key)
        if value is not None:
            lines.append(f"{value:g} {unit}")
    if window is not None:
        lines.append(f"C {window[0]:g} W {window[1]:g}")
    return [line for line in lines if line]
