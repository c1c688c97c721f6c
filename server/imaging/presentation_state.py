"""A Grayscale Softcopy Presentation State applied to an image that it refers to (PS3.3 A.33.1, C.10.4 to C.10.8)."""

from dataclasses import dataclass, replace
from typing import Any

from PIL import Image, ImageDraw

from server.errors import Unprocessable
from server.imaging import attributes as read
from server.imaging import graphic, grayscale
from server.imaging.dataset import Attributes
from server.imaging.graphic import Placement
from server.imaging.grayscale import Pipeline, Window
from server.imaging.head import Head

#: Sides of a displayed area that anybody is drawn, pixels.
_LARGEST = 16_384
_VOI, _AREA, _ANNOTATION = "00283110", "0070005A", "00700001"


@dataclass(frozen=True, kw_only=True)
class PresentationState:
    """What a presentation state says of one image."""

    head: Head
    #: The items that hold for the image.
    voi: Attributes
    area: Attributes
    annotations: tuple[Attributes, ...]

    @property
    def aspect(self) -> float | None:
        """Height of a pixel over its width, as the displayed area has it."""
        for key in ("00700101", "00700102"):
            sizes = [value for value in read.values(self.area, key) if isinstance(value, int | float)]
            if len(sizes) == 2 and sizes[0] > 0 and sizes[1] > 0:
                return sizes[0] / sizes[1]
        return None


def parse(state: Head, image: Head) -> PresentationState:
    """The state as it holds for the image; raises Unprocessable where it does not refer to it."""
    uid = read.text(image.attributes, "00080018")
    referred = [
        read.text(item, "00081155")
        for series in read.items(state.attributes, "00081115")
        for item in read.items(series, "00081140")
    ]
    if uid not in referred:
        raise Unprocessable("The presentation state does not refer to this image.", expression="00081115")
    return PresentationState(
        head=state,
        voi=next(iter(_holding(state.attributes, _VOI, uid)), {}),
        area=next(iter(_holding(state.attributes, _AREA, uid)), {}),
        annotations=tuple(_holding(state.attributes, _ANNOTATION, uid)),
    )


def _holding(header: Attributes, sequence: str, uid: str) -> list[Attributes]:
    """The items for an image: those that name it, and those that name none."""
    found = []
    for item in read.items(header, sequence):
        named = [read.text(image, "00081155") for image in read.items(item, "00081140")]
        if not named or uid in named:
            found.append(item)
    return found


def applied(pipeline: Pipeline, state: PresentationState, window: Window | None) -> Pipeline:
    """The image's pipeline with the state's transformations in place of its own (PS3.4 N.2)."""
    header = state.head.attributes
    has_modality = "00283000" in header or "00281053" in header
    return replace(
        pipeline,
        modality=grayscale.modality(state.head, header) if has_modality else pipeline.modality,
        voi=window or grayscale.voi(state.head, state.voi) or pipeline.voi,
        presentation=grayscale.presentation(state.head, header),
        inverted=grayscale.is_inverted(header, pipeline.inverted),
    )


def finish(image: Image.Image, state: PresentationState) -> Image.Image:
    """Shutters, displayed area, rotation and flip, then the annotations, upright."""
    header = state.head.attributes
    image = _shuttered(image, header)
    box = _box(state.area, image)
    turned = image.crop(box)
    rotation = (read.integer(header, "00700042") or 0) % 360
    if rotation in (90, 180, 270):
        turned = turned.rotate(-rotation, expand=True)
    flipped = read.text(header, "00700041") == "Y"
    if flipped:
        turned = turned.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    placement = Placement(box=box, rotation=rotation, flipped=flipped, size=turned.size)
    colours = {read.text(layer, "00700002"): graphic.colour_of(layer) for layer in read.items(header, "00700060")}
    if state.annotations:
        turned = turned.convert("RGB")
        pen = ImageDraw.Draw(turned)
        for annotation in state.annotations:
            graphic.draw(pen, annotation, placement, colours.get(read.text(annotation, "00700002"), (255, 255, 0)))
    return turned


def _box(area: Attributes, image: Image.Image) -> tuple[int, int, int, int]:
    """The displayed area in pixels from 0, however its corners lie after turning (PS3.3 C.10.4)."""
    first, last = (
        [value for value in read.values(area, key) if isinstance(value, int)] for key in ("00700052", "00700053")
    )
    if len(first) != 2 or len(last) != 2:
        return 0, 0, image.width, image.height
    left, right = sorted((first[0], last[0]))
    top, bottom = sorted((first[1], last[1]))
    if right - left >= _LARGEST or bottom - top >= _LARGEST:
        raise Unprocessable(f"The displayed area is larger than {_LARGEST} pixels.", expression="0070005A")
    return left - 1, top - 1, right, bottom


def _shuttered(image: Image.Image, header: Attributes) -> Image.Image:
    """What lies outside of every shutter, in the shutter's value (PS3.3 C.7.6.11)."""
    shapes = [str(value) for value in read.values(header, "00181600")]
    if not shapes:
        return image
    mask = Image.new("1", image.size, 1)
    for shape in shapes:
        inside = Image.new("1", image.size, 0)
        _inside(ImageDraw.Draw(inside), shape, header)
        mask = Image.composite(inside, Image.new("1", image.size, 0), mask)
    value = (read.integer(header, "00181622") or 0) >> 8
    shade: Any = value if image.mode == "L" else (value, value, value)
    return Image.composite(image, Image.new(image.mode, image.size, shade), mask)


def _inside(pen: ImageDraw.ImageDraw, shape: str, header: Attributes) -> None:
    """Rows and columns of shutters count from 1."""
    if shape == "RECTANGULAR":
        left, right, top, bottom = (read.integer(header, f"0018160{n}") for n in (2, 4, 6, 8))
        if left is not None and right is not None and top is not None and bottom is not None:
            pen.rectangle((min(left, right), min(top, bottom), max(left, right) - 2, max(top, bottom) - 2), fill=1)
    elif shape == "CIRCULAR":
        centre = [value for value in read.values(header, "00181610") if isinstance(value, int)]
        radius = read.integer(header, "00181612")
        if len(centre) == 2 and radius is not None:
            row, column = centre[0] - 1, centre[1] - 1
            pen.ellipse((column - radius, row - radius, column + radius, row + radius), fill=1)
    elif shape == "POLYGONAL":
        vertices = [value for value in read.values(header, "00181620") if isinstance(value, int)]
        points = [(vertices[at + 1] - 1, vertices[at] - 1) for at in range(0, len(vertices) - 1, 2)]
        if len(points) >= 3:
            pen.polygon(points, fill=1)
