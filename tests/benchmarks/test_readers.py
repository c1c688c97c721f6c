"""A bundle's outline against each reader's."""

from benchmarks.readers import Compared, listing


def compared(diameter: float | None, volume: float | None) -> Compared:
    """A lesion of three readers."""
    return Compared(
        study="s",
        center_mm=(1, 2, 3),
        readers=3,
        consensus_mm=9.0,
        confidence=None if diameter is None else 0.8,
        dice=(0.7, 0.8, 0.75),
        readers_dice=(0.8, 0.82, 0.79),
        diameter_mm=diameter,
        readers_diameter_mm=(8.0, 9.5, 9.0),
        volume_mm3=volume,
        readers_volume_mm3=(300, 420, 390),
    )


def test_inside_means_between_the_least_and_the_most_of_the_readers() -> None:
    assert compared(8.0, 420).diameter_inside
    assert compared(8.0, 420).volume_inside
    assert not compared(7.9, 430).diameter_inside
    assert not compared(7.9, 430).volume_inside
    assert not compared(None, None).volume_inside
    assert "3 readers" in listing(compared(8.0, 420))
