"""The table of figures with their bars, and the CPU time of the server by part."""

from dataclasses import dataclass

from benchmarks.dicomweb.memory import parts
from benchmarks.fhir.importing import Figures
from benchmarks.hostile.server import Tree, cpu_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """What a figure must be."""

    value: float
    #: Whether more is better.
    more: bool


BARS = {
    "import resources/s": Bar(value=600, more=True),
    "crud requests/s": Bar(value=600, more=True),
    "search 1x p50 ms": Bar(value=10, more=False),
    "search 10x p50 ms": Bar(value=10, more=False),
    "search p50 growth": Bar(value=1.5, more=False),
    "search 1x p99 ms": Bar(value=100, more=False),
    "search 10x p99 ms": Bar(value=100, more=False),
    "conditional created, least": Bar(value=1, more=True),
    "conditional created, most": Bar(value=1, more=False),
}


def lines(figures: Figures) -> list[str]:
    """One line for each figure, with its bar where it has one."""
    found = []
    for name, figure in figures.items():
        line = f"{name:44}{figure:12.2f}"
        if bar := BARS.get(name):
            met = "met" if (figure >= bar.value if bar.more else figure <= bar.value) else "MISSED"
            line += f"  {'>=' if bar.more else '<='} {bar.value:g}  {met}"
        found.append(line)
    return found


def short(figures: Figures) -> str:
    """One line of all figures."""
    return ", ".join(f"{name} {figure:.2f}" for name, figure in figures.items())


def cpu(tree: Tree | None) -> dict[str, float]:
    """CPU seconds so far of the server's parts: web, PostgreSQL, DIMSE, and the rest (events first of all)."""
    found: dict[str, float] = {}
    if tree is not None:
        for process, part in parts(tree.process, tree.http_port, tree.dimse_port).items():
            found[part] = found.get(part, 0.0) + cpu_of(process)
    return found


def used(part: str, before: dict[str, float], after: dict[str, float], figures: Figures) -> Figures:
    """CPU milliseconds of the server for each resource or request of a part."""
    amount = figures.get(f"{part} resources") or figures.get(f"{part} requests")
    if not amount:
        return {}
    return {
        f"{part} cpu ms, {name}": 1000 * (seconds - before.get(name, 0.0)) / amount
        for name, seconds in after.items()
        if seconds - before.get(name, 0.0) > 0.01 * amount / 1000
    }
