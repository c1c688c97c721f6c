"""near: units of UCUM, and the band of latitudes that the index looks along."""

import pytest

from server.errors import BadRequest
from server.search.position import matches, parse


@pytest.mark.parametrize(
    ("units", "kilometres"),
    [("", 2.0), ("|km", 2.0), ("|", 2.0), ("|m", 0.002), ("|[mi_i]", 3.218688), ("|mi", 3.218688), ("|cm", 0.00002),
     ("|[nmi_i]", 3.704), ("|[ft_i]", 0.0006096)],
)  # fmt: skip
def test_distances_are_in_units_of_length(units: str, kilometres: float) -> None:
    assert parse(f"1|2|2{units}").distance == pytest.approx(kilometres)


def test_without_a_distance_it_is_fifty_kilometres() -> None:
    assert parse("1.5|-2").distance == 50
    assert matches(parse("48.85|2.35"), (49.2, 2.35)) and not matches(parse("48.85|2.35"), (49.4, 2.35))


@pytest.mark.parametrize(
    "text",
    ["1", "91|0", "0|181", "0|0|-1", "0|0|1|kg", "0|0|1|parsnip", "1|2|3|km|4", "nan|0", "inf|0", "1_0|0", "\u0663|0",
     "", "0|0|1e30|km"],
)  # fmt: skip
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        parse(text)
