"""The table: both figures, their ratio, and the bar."""

from dataclasses import dataclass

from benchmarks.dicomweb.measures import Figures


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """What the ratio must be."""

    unit: str
    #: Ours divided by Orthanc's.
    ratio: float
    #: Whether more is better.
    more: bool


BARS = {
    **{name: Bar(unit="/s", ratio=1.5, more=True) for name in ("stow 1x1", "stow 4x1", "stow 4x50")},
    "stow 1x50": Bar(unit="/s", ratio=2.5, more=True),
    "c-store 1": Bar(unit="/s", ratio=1.5, more=True),
    "c-store 4": Bar(unit="/s", ratio=1.5, more=True),
    "qido studies": Bar(unit="ms", ratio=1 / 5, more=False),
    "qido instances": Bar(unit="ms", ratio=1 / 20, more=False),
    "wado study 1": Bar(unit="MB/s", ratio=1.5, more=True),
    "wado study 4": Bar(unit="MB/s", ratio=1.5, more=True),
    "metadata": Bar(unit="ms", ratio=1 / 3, more=False),
    "frames": Bar(unit="ms", ratio=1 / 2, more=False),
    "rendered": Bar(unit="ms", ratio=1.0, more=False),
    "memory": Bar(unit="MB", ratio=1.0, more=False),
}


def lines(ours: Figures, theirs: Figures) -> list[str]:
    """One line for each figure that both have, then ours alone."""
    found = [f"{'':22}{'hutong':>12}{'orthanc':>12}{'ratio':>9}{'bar':>10}"]
    for name, bar in BARS.items():
        if name in ours and name in theirs:
            ratio = ours[name] / theirs[name]
            met = "met" if (ratio >= bar.ratio if bar.more else ratio <= bar.ratio) else "MISSED"
            sign = ">=" if bar.more else "<="
            found.append(
                f"{f'{name} ({bar.unit})':22}{ours[name]:12.2f}{theirs[name]:12.2f}{ratio:9.3f}"
                f"{f'{sign}{bar.ratio:.2f}':>10}  {met}"
            )
    found += [f"{name:22}{figure:12.2f}" for name, figure in ours.items() if name not in BARS]
    return found
