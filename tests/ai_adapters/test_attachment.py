"""What a nodule touches."""

import pytest

from ai_adapters.attachment import PLEURA, VESSEL, attachments
from ai_adapters.lesion import examine
from tests.ai_adapters.balls import scan

SPACINGS = [(0.8, 0.6, 0.6), (2.5, 0.8, 0.8)]


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(("beside", "expected"), [({}, []), ({"wall_mm": 2.0}, [PLEURA]), ({"tube_mm": 2.0}, [VESSEL])])
def test_walls_are_thick_and_vessels_thin(spacing, beside, expected) -> None:
    volume, region, _ = scan((9.0, 40.0), spacing=spacing, **beside)
    found = dict(attachments(examine(region, volume)))
    assert list(found) == expected
    assert all(0.5 < sure <= 1 for sure in found.values())


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("passes_mm", [0.0, 4.5])
@pytest.mark.parametrize("hu", [40.0, -600.0])
def test_a_fissure_is_no_vessel(spacing, passes_mm, hu) -> None:
    volume, region, _ = scan((9.0, hu), spacing=spacing, sheet_mm=passes_mm)
    assert list(attachments(examine(region, volume))) == []


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_vessel_beside_ground_glass_is_one(spacing) -> None:
    volume, region, _ = scan((9.0, -600.0), spacing=spacing, tube_mm=1.5)
    assert list(dict(attachments(examine(region, volume)))) == [VESSEL]
