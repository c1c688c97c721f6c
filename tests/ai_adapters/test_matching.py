"""One to one, whatever the order; never beyond reach."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_adapters.matching import Place, match


def place(x: float, y: float = 0.0, z: float = 0.0, size: float = 8.0) -> Place:
    return Place(center_mm=(x, y, z), diameter_mm=size)


def test_each_lesion_is_one_lesion() -> None:
    # The first later one is near both; the second has only one choice.
    assert match([place(0), place(7)], [place(3.4), place(-4)]) == {0: 1, 1: 0}


def test_size_decides_between_neighbours() -> None:
    earlier = [place(0, size=4), place(6, size=16)]
    assert match(earlier, [place(3, size=15)]) == {0: 1}
    assert match(earlier, [place(3, size=4)]) == {0: 0}


@pytest.mark.parametrize(("away", "found"), [(8.0, {0: 0}), (8.8, {})])
def test_reach_grows_with_the_lesion(away: float, found: dict[int, int]) -> None:
    assert match([place(0, size=8)], [place(away, size=8)]) == found


def test_unknown_sizes_do_not_hinder() -> None:
    assert match([place(0, size=0)], [place(2, size=9)]) == {0: 0}


coordinates = st.floats(-150, 150)
places = st.lists(st.builds(place, coordinates, coordinates, coordinates, st.floats(3, 30)), max_size=12)


@given(places, places)
def test_nothing_is_given_twice_and_nothing_leaps(earlier: list[Place], later: list[Place]) -> None:
    found = match(earlier, later)
    assert len(set(found.values())) == len(found)
    for new, old in found.items():
        reach = 6 + 0.3 * max(later[new].diameter_mm, earlier[old].diameter_mm)
        assert math.dist(later[new].center_mm, earlier[old].center_mm) <= reach + 1e-9


@given(places)
def test_the_same_scan_matches_itself(lesions: list[Place]) -> None:
    apart = [
        one for n, one in enumerate(lesions) if all(math.dist(one.center_mm, o.center_mm) > 1 for o in lesions[:n])
    ]
    assert match(apart, apart) == {index: index for index in range(len(apart))}
