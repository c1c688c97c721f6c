"""The tables of ``benchmarks.nodules`` as text."""

import json
from collections.abc import Sequence
from typing import Any


def _spread(value: Sequence[float]) -> str:
    return f"{value[0]:.3f} ({value[1]:.3f}-{value[2]:.3f})"


def printed(figures: dict[str, Any]) -> str:
    """As a text for people."""
    lines = [
        f"{figures['scans']} scans, {figures['false_positives_a_scan']} false positives a scan at the threshold "
        f"{figures['threshold']}",
        "| size | density | nodules | found | at 1 FP a scan (95 %) | FROC 1/8 to 8 | CPM (95 %) |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in figures["detection"]:
        froc = " ".join(f"{value:.3f}" for value in row["froc"])
        lines.append(
            f"| {row['size']} | {row['density']} | {row['nodules']} | {row['found']} | {_spread(row['at_one'])} "
            f"| {froc} | {_spread(row['cpm'])} |"
        )
    lines += [
        "",
        "| density, 6 mm and more | attached to | nodules | median volume error | median found / true |",
        "|---|---|---|---|---|",
    ]
    for row in figures["volumes"]:
        lines.append(
            f"| {row['density']} | {row['attachment']} | {row['nodules']} | {row['error_median']:.1%} "
            f"| {row['ratio_median']:.2f} |"
        )
    called = figures["densities"]
    right, total = sum(called[kind][kind] for kind in called), sum(sum(row.values()) for row in called.values())
    lines += ["", f"density right in {right} of {total}: {json.dumps(called)}"]
    if figures["margins"]:
        lines.append(f"margins told of solid nodules of 6 mm and more: {json.dumps(figures['margins'])}")
    same = figures["categories"]
    if same["scans"]:
        lines.append(f"category equal in {same['equal']} of {same['scans']} scans: {json.dumps(same['other'])}")
    return "\n".join(lines)
