"""The phantoms to train on meet every kernel with every distance of slices."""

from conformance.phantom.__main__ import arguments, specs
from training.phantoms import options


def test_the_options_are_the_commands_own_and_seeded() -> None:
    met = set()
    for seed in range(10301, 10322):
        words = options(seed)
        assert words == options(seed)
        asked = arguments().parse_args(["out", *words])
        wanted = specs(asked.nodules)
        assert wanted is not None
        assert len(wanted) == 24
        assert all(3.0 <= each.diameter <= 22.0 for each in wanted)
        met.add((asked.kernel, asked.spacing))
    assert len(met) == 21
