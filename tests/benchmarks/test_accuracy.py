"""Errors of measurements: taken against the right truth, and in the form that a manifest holds."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from ai_adapters.manifest import parse
from ai_adapters.run import measured
from benchmarks.accuracy import Sample, rows, samples
from conformance.phantom.make import Truth
from tests.ai_adapters.balls import scan

_BUNDLE = Path("ai_adapters/bundles/nodule_detection/manifest.json")


def ball(diameter: float, center: tuple[float, float, float], solid: float | None = None) -> Truth:
    """The truth of a ball, with a smaller one in its middle."""
    volume = math.pi / 6 * diameter**3
    return Truth(
        number=1, center_mm=center, diameter_mm=diameter, volume_mm3=volume, density="", long_axis_mm=diameter,
        short_axis_mm=diameter, mean_diameter_mm=diameter, solid_diameter_mm=solid, solid_mean_diameter_mm=solid,
        solid_volume_mm3=math.pi / 6 * solid**3 if solid else None, attachment="none", margin="smooth", side="left",
        lobe="upper", calcified=False, doubling_days=0.0,
    )  # fmt: skip


def test_what_is_found_is_held_against_the_nodule_that_it_lies_in() -> None:
    volume, region, center = scan((16.0, -620.0), (8.0, 20.0))
    found = measured(region, volume, center, 0.9)
    far = replace(ball(5.0, (100.0, 0.0, 0.0)), number=2)
    whole, part = samples([far, ball(16.0, center, 8.0)], [found], 0.5)
    assert (whole.kind, part.kind) == ("part-solid", "solid-component-diameter")
    assert whole.log_volume == pytest.approx(0, abs=0.15)
    assert max(map(abs, (*whole.lengths_mm, *part.lengths_mm))) < 1.0
    # The same against a truth twice as large in volume.
    larger = ball(16.0 * 2 ** (1 / 3), center)
    (alone,) = samples([larger], [found], 0.5)
    assert alone.log_volume == pytest.approx(whole.log_volume - math.log(2))
    assert alone.lengths_mm[2] == pytest.approx(whole.lengths_mm[2] + 16.0 - larger.diameter_mm)
    assert not list(samples([larger], [replace(found, confidence=0.4)], 0.5))


def sample(kind: str, size: float, error: float) -> Sample:
    """One whose axes and volume err by as much."""
    return Sample(kind=kind, size_mm=size, lengths_mm=(error, -error, error), log_volume=-error)


def test_95_percent_of_errors_lie_within_and_few_go_to_the_next_range() -> None:
    few = [sample("solid", 5.0, 0.9) for _ in range(3)]
    many = [sample("solid", 8.0, 0.1 + 0.01 * number) for number in range(100)]
    mixed = [sample("112120", 9.0, 0.5)] * 10 + [sample("part-solid", 9.0, 0.5)] * 10
    found = rows([*few, *many, *mixed])
    assert [(row["density"], row["up_to_mm"]) for row in found] == [
        ("112120", 12.0), ("part-solid", 12.0), ("solid", 10.0),
    ]  # fmt: skip
    solid = found[2]["log_volume"]
    within = sum(abs(each.log_volume) <= solid for each in [*few, *many])
    assert within == pytest.approx(0.95 * 103, abs=1)
    assert found[0]["length_mm"] == found[1]["length_mm"] == 0.5


def test_a_manifest_holds_them() -> None:
    errors = rows([sample("solid", 8.0, 0.2)] * 30 + [sample("solid-component-diameter", 6.0, 0.3)] * 30)
    manifest = json.loads(_BUNDLE.read_text(encoding="utf-8"))
    manifest["accuracy"] = {"source": "here", "errors": errors}
    accuracy = parse(json.dumps(manifest).encode()).accuracy
    assert accuracy is not None
    error = accuracy.of("solid", 8.0)
    assert error is not None
    assert (error.length_mm, error.log_volume) == (0.2, 0.2)
