"""FROC curves as one SVG: sensitivity over false positives a scan, the axis by ratio, as LUNA16 draws it."""

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from ai_adapters.evaluation.figures import Evaluation
from ai_adapters.evaluation.froc import RATES

_WIDTH, _HEIGHT = 720, 480
_LEFT, _TOP, _RIGHT, _BOTTOM = 64, 24, 24, 56
#: Told apart by the colour-blind too (Okabe and Ito, https://jfly.uni-koeln.de/color/).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")


def draw(evaluations: Sequence[Evaluation]) -> str:
    """The SVG; a system without lesions to find has a legend and no line."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="13">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        *_axes(),
    ]
    for number, evaluation in enumerate(evaluations):
        parts += _line(evaluation, _COLOURS[number % len(_COLOURS)], number, len(evaluations))
    return "\n".join([*parts, "</svg>\n"])


def _x(rate: float) -> float:
    share = math.log2(rate / RATES[0]) / math.log2(RATES[-1] / RATES[0])
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _y(sensitivity: float) -> float:
    return _TOP + (1 - sensitivity) * (_HEIGHT - _TOP - _BOTTOM)


def _axes() -> list[str]:
    parts = []
    for rate in RATES:
        parts.append(f'<path d="M{_x(rate):.1f} {_y(0):.1f}V{_y(1):.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{_x(rate):.1f}" y="{_y(0) + 18:.1f}" text-anchor="middle">{rate:g}</text>')
    for tenth in range(0, 11, 2):
        parts.append(f'<path d="M{_x(RATES[0]):.1f} {_y(tenth / 10):.1f}H{_x(RATES[-1]):.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{_y(tenth / 10) + 4:.1f}" text-anchor="end">{tenth / 10:g}</text>')
    across, middle = (_LEFT + _WIDTH - _RIGHT) / 2, (_TOP + _HEIGHT - _BOTTOM) / 2
    return [
        *parts,
        f'<text x="{across}" y="{_HEIGHT - 12}" text-anchor="middle">false positives a scan</text>',
        f'<text x="18" y="{middle}" text-anchor="middle" transform="rotate(-90 18 {middle})">sensitivity</text>',
    ]


def _line(evaluation: Evaluation, colour: str, number: int, count: int) -> list[str]:
    points = [
        f"{_x(point.rate):.1f},{_y(point.sensitivity):.1f}"
        for point in evaluation.curve
        if not math.isnan(point.sensitivity)
    ]
    estimate = evaluation.total.cpm
    label = evaluation.name if estimate is None else f"{evaluation.name}, CPM {estimate.value:.3f}"
    high = _y(0) - 16 - 20 * (count - 1 - number)
    return [
        f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>',
        f'<path d="M{_WIDTH - _RIGHT - 250} {high - 4:.1f}h24" stroke="{colour}" stroke-width="2"/>',
        f'<text x="{_WIDTH - _RIGHT - 220}" y="{high:.1f}">{escape(label)}</text>',
    ]
