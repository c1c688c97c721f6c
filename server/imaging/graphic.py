"""Graphic annotations of a presentation state: lines, circles, ellipses, points and texts (PS3.3 C.10.5, C.10.7)."""

from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw, ImageFont

from server.imaging import attributes as read
from server.imaging import colour
from server.imaging.dataset import Attributes

Point = tuple[float, float]
Colour = tuple[int, int, int]

_MOST_POINTS = 100_000
#: Half the edge of the cross that marks a point, pixels.
_CROSS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where pixels of the image are on what is shown."""

    #: Left, top, right and bottom of the part that is shown, in pixels from 0.
    box: tuple[int, int, int, int]
    #: Degrees, clockwise, before flipping.
    rotation: int
    flipped: bool
    #: Width and height of what is shown.
    size: tuple[int, int]

    def point(self, x: float, y: float, units: str) -> Point:
        """Of the image's pixels, or of fractions of the displayed area (units DISPLAY)."""
        width, height = self.size
        if units == "DISPLAY":
            return x * width, y * height
        x, y = x - self.box[0], y - self.box[1]
        across, down = self.box[2] - self.box[0], self.box[3] - self.box[1]
        if self.rotation == 90:
            x, y = down - y, x
        elif self.rotation == 180:
            x, y = across - x, down - y
        elif self.rotation == 270:
            x, y = y, across - x
        return (width - x if self.flipped else x), y


def colour_of(layer: Attributes) -> Colour:
    """The recommended colour of a graphic layer, else its grey."""
    encoded = [value for value in read.values(layer, "00700401") if isinstance(value, int)]
    if len(encoded) == 3:
        return colour.of_cielab(encoded)
    grey = read.integer(layer, "00700066")
    return (255, 255, 0) if grey is None else (grey >> 8 & 0xFF,) * 3


def draw(pen: ImageDraw.ImageDraw, annotation: Attributes, placement: Placement, shade: Colour) -> None:
    """The graphics and the texts of one item."""
    for item in read.items(annotation, "00700009"):
        _graphic(pen, item, placement, shade)
    for item in read.items(annotation, "00700008"):
        _text(pen, item, placement, shade)


def _points(item: Attributes, key: str, units: str, placement: Placement) -> list[Point]:
    values = [float(value) for value in read.values(item, key)[:_MOST_POINTS] if isinstance(value, int | float)]
    pairs = zip(values[::2], values[1::2], strict=False)
    return [placement.point(x, y, units) for x, y in pairs if np.isfinite([x, y]).all()]


def _graphic(pen: ImageDraw.ImageDraw, item: Attributes, placement: Placement, shade: Colour) -> None:
    points = _points(item, "00700022", read.text(item, "00700005"), placement)
    kind, filled = read.text(item, "00700023"), read.text(item, "00700024") == "Y"
    if kind == "CIRCLE" and len(points) == 2:
        points = _circle(points[0], points[1])
    elif kind == "ELLIPSE" and len(points) == 4:
        points = _ellipse(points)
    elif kind == "INTERPOLATED" and len(points) >= 3:
        points = _spline(points)
    if kind == "POINT" or len(points) == 1:
        for x, y in points:
            pen.line((x - _CROSS, y, x + _CROSS, y), fill=shade)
            pen.line((x, y - _CROSS, x, y + _CROSS), fill=shade)
    elif len(points) >= 2:
        if filled and len(points) >= 3:
            pen.polygon(points, fill=shade)
        pen.line(points, fill=shade, width=1)


def _circle(centre: Point, edge: Point) -> list[Point]:
    radius = float(np.hypot(edge[0] - centre[0], edge[1] - centre[1]))
    turn = np.linspace(0, 2 * np.pi, 73)
    return [(centre[0] + radius * float(np.cos(t)), centre[1] + radius * float(np.sin(t))) for t in turn]


def _ellipse(ends: list[Point]) -> list[Point]:
    """By the end points of its axes, major first."""
    major, minor = np.array(ends[:2]), np.array(ends[2:])
    centre, along, across = major.mean(axis=0), (major[1] - major[0]) / 2, (minor[1] - minor[0]) / 2
    turn = np.linspace(0, 2 * np.pi, 73)[:, None]
    return [(float(x), float(y)) for x, y in centre + np.cos(turn) * along + np.sin(turn) * across]


def _spline(points: list[Point]) -> list[Point]:
    """A curve through all points; consecutive equal ones are one."""
    kept = [point for at, point in enumerate(points) if at == 0 or point != points[at - 1]]
    if len(kept) < 3:
        return kept
    # Takes a third of a second to load, and few states have such a curve.
    from scipy.interpolate import splev, splprep

    curve, _ = splprep(np.array(kept).T, s=0, k=min(3, len(kept) - 1))
    x, y = splev(np.linspace(0, 1, min(16 * len(kept), _MOST_POINTS)), curve)
    return list(zip(map(float, x), map(float, y), strict=True))


def _text(pen: ImageDraw.ImageDraw, item: Attributes, placement: Placement, shade: Colour) -> None:
    box_units, anchor_units = read.text(item, "00700003"), read.text(item, "00700004")
    corner = _points(item, "00700010", box_units, placement)
    other = _points(item, "00700011", box_units, placement)
    anchor = _points(item, "00700014", anchor_units, placement)
    place = (min(corner[0][0], other[0][0]), min(corner[0][1], other[0][1])) if corner and other else None
    if place is None and anchor:
        place = anchor[0]
    if place is None:
        return
    if anchor and corner and read.text(item, "00700015") == "Y":
        pen.line((*anchor[0], *place), fill=shade)
    # The font has no other letters than these.
    text = read.text(item, "00700006").encode("latin_1", "replace").decode("latin_1")
    size = max(10, round(min(placement.size) / 36))
    pen.multiline_text(place, text, fill=shade, font=ImageFont.load_default(size), stroke_width=1, stroke_fill="black")
