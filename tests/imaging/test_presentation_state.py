"""A Grayscale Softcopy Presentation State in the picture: window, area, turning, shutters, drawings."""

from io import BytesIO
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian

from server.errors import Unprocessable
from server.imaging import rendering
from server.imaging.bulk import frames_of_file
from server.imaging.render import draw
from tests.imaging.test_render import item, make

GSPS = "1.2.840.10008.5.1.4.1.1.11.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
#: Columns tell their number by their value.
PIXELS = np.tile(np.arange(64, dtype="<u2") * 16, (48, 1))


def area(**changes: Any) -> pydicom.Dataset:
    values: dict[str, Any] = {
        "DisplayedAreaTopLeftHandCorner": [1, 1],
        "DisplayedAreaBottomRightHandCorner": [64, 48],
        "PresentationSizeMode": "SCALE TO FIT",
        "PresentationPixelAspectRatio": [1, 1],
    }
    return item(**(values | changes))


def state(referred: str = "1.2.3.1.1", **attributes: Any) -> bytes:
    dataset = item(
        SOPClassUID=GSPS, SOPInstanceUID="1.2.3.9.1", StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.9",
        PresentationLUTShape="IDENTITY",
        ReferencedSeriesSequence=[
            item(
                SeriesInstanceUID="1.2.3.1",
                ReferencedImageSequence=[item(ReferencedSOPClassUID=CT, ReferencedSOPInstanceUID=referred)],
            )
        ],
    )  # fmt: skip
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for keyword, value in ({"DisplayedAreaSelectionSequence": [area()]} | attributes).items():
        setattr(dataset, keyword, value)
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def shown(file: bytes) -> NDArray[np.uint8]:
    image = make(PIXELS, WindowCenter=500, WindowWidth=1000)
    drawn = draw(image, frames_of_file(image), [1], rendering.parse({}, "image/png"), file)
    return np.asarray(Image.open(BytesIO(drawn)))


def test_its_window_takes_the_place_of_the_images_own() -> None:
    voi = [item(WindowCenter=32, WindowWidth=32)]
    found = shown(state(SoftcopyVOILUTSequence=voi))
    assert found[0, 0] == 0
    assert (found[:, 4:] == 255).all()


def test_its_presentation_lut_turns_grey_round() -> None:
    plain, inverse = shown(state()), shown(state(PresentationLUTShape="INVERSE"))
    assert (inverse.astype(int) + plain >= 253).all()


def test_the_displayed_area_is_cut_out_and_padded() -> None:
    part = area(DisplayedAreaTopLeftHandCorner=[11, 5], DisplayedAreaBottomRightHandCorner=[20, 8])
    found = shown(state(DisplayedAreaSelectionSequence=[part]))
    assert found.shape == (4, 10)
    assert (found == shown(state())[4:8, 10:20]).all()
    beyond = area(DisplayedAreaTopLeftHandCorner=[-3, 1], DisplayedAreaBottomRightHandCorner=[64, 48])
    padded = shown(state(DisplayedAreaSelectionSequence=[beyond]))
    assert padded.shape == (48, 68)
    assert (padded[:, :4] == 0).all()


def test_rotation_comes_before_the_flip() -> None:
    plain = shown(state())
    assert (shown(state(ImageRotation=90, ImageHorizontalFlip="N")) == np.rot90(plain, -1)).all()
    assert (shown(state(ImageRotation=90, ImageHorizontalFlip="Y")) == np.rot90(plain, -1)[:, ::-1]).all()
    assert (shown(state(ImageRotation=180, ImageHorizontalFlip="N")) == plain[::-1, ::-1]).all()


def test_shutters_hide_what_is_outside_of_all_of_them() -> None:
    found = shown(
        state(
            ShutterShape=["RECTANGULAR", "CIRCULAR"], ShutterLeftVerticalEdge=10, ShutterRightVerticalEdge=50,
            ShutterUpperHorizontalEdge=5, ShutterLowerHorizontalEdge=40, CenterOfCircularShutter=[24, 30],
            RadiusOfCircularShutter=12, ShutterPresentationValue=0xFFFF,
        )
    )  # fmt: skip
    assert (found[0] == 255).all()
    assert (found[:, 60] == 255).all()
    assert found[23, 29] < 200
    # Inside of the rectangle, outside of the circle.
    assert found[6, 12] == 255


def test_drawings_lie_where_their_pixels_are() -> None:
    def graphic(kind: str, data: list[float], **more: Any) -> pydicom.Dataset:
        return item(
            GraphicAnnotationUnits="PIXEL", GraphicDimensions=2, NumberOfGraphicPoints=len(data) // 2, GraphicData=data,
            GraphicType=kind, GraphicFilled="N", **more,
        )  # fmt: skip

    drawings = item(
        GraphicLayer="A",
        GraphicObjectSequence=[
            graphic("POLYLINE", [10.0, 10.0, 30.0, 10.0]),
            graphic("CIRCLE", [40.0, 24.0, 46.0, 24.0]),
            graphic("ELLIPSE", [5.0, 30.0, 15.0, 30.0, 10.0, 27.0, 10.0, 33.0]),
            graphic("INTERPOLATED", [50.0, 5.0, 55.0, 8.0, 60.0, 5.0]),
            graphic("POINT", [20.0, 40.0]),
        ],
    )  # fmt: skip
    layer = item(GraphicLayer="A", GraphicLayerOrder=1, GraphicLayerRecommendedDisplayCIELabValue=[35579, 53664, 50858])
    found = shown(state(GraphicAnnotationSequence=[drawings], GraphicLayerSequence=[layer])).astype(int)
    red = (found[..., 0] > 200) & (found[..., 1] < 60)
    assert red[10, 12:28].all()
    assert red[24, 46]
    assert red[24, 34]
    assert red[33, 10]
    assert red[38:43, 20].all()
    # Turned with the image: what was at column 46 of row 24 is at row 46 of column 48 - 24.
    turned = shown(
        state(
            GraphicAnnotationSequence=[drawings],
            GraphicLayerSequence=[layer],
            ImageRotation=90,
            ImageHorizontalFlip="N",
        )
    ).astype(int)
    assert turned[46, 24, 0] > 200
    assert turned[46, 24, 1] < 60


def test_items_for_other_images_are_left_out() -> None:
    other = item(ReferencedSOPClassUID=CT, ReferencedSOPInstanceUID="1.2.3.1.2")
    voi = [item(WindowCenter=32, WindowWidth=32, ReferencedImageSequence=[other])]
    assert (shown(state(SoftcopyVOILUTSequence=voi)) == shown(state())).all()
    with pytest.raises(Unprocessable, match="refer"):
        shown(state(referred="1.2.3.1.2"))


def test_an_area_without_end_is_refused() -> None:
    wide = area(DisplayedAreaBottomRightHandCorner=[2_000_000, 2_000_000])
    with pytest.raises(Unprocessable, match="area"):
        shown(state(DisplayedAreaSelectionSequence=[wide]))
