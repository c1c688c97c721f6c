"""Makes chest-CT phantoms: ``python -m conformance.phantom OUT [options]``.

    python -m conformance.phantom out                         one study: CT instances, truth.json, truth_sr.dcm
    python -m conformance.phantom out --prior-days 180        the same lungs 180 days apart: out/current and out/prior
    python -m conformance.phantom out --nodules 8 12:part-solid:pleura 9:solid:spiculated@-70,20,-30~250
    python -m conformance.phantom out --nodules none --spacing 1.25 --kernel sharp --noise 40
    python -m conformance.phantom out --format npz --seed 100 --count 50 --spacing 1.5 --matrix 256
                                                              out/000100.npz ... for training, no DICOM in between

A nodule is DIAMETER[:word...][@X,Y,Z][~DAYS]: volume-equivalent mm at the current study; words among solid, part-solid,
ground-glass; none, vessel, pleura (attachment); circumscribed, lobulated, spiculated, irregular, ill-defined; a place
in mm from the carina towards left, back and head; a volume doubling time in days (0 stable, negative shrinking).
What is left open is drawn from the seed. An npz holds hu (int16 [z,y,x], z from feet to head), lung (bool), label
(uint8, nodule number), spacing (z,y,x mm), origin and centers (x,y,z mm, LPS), diameters (mm), truth (JSON text).
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from conformance.phantom.make import Wishes
from conformance.phantom.nodules import Spec, SpecError, parse
from conformance.phantom.scanner import KERNELS
from conformance.phantom.write import make, make_npz


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m conformance.phantom", description="Make a chest CT with known nodules."
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1, help="npz only: that many consecutive seeds")
    parser.add_argument("--nodules", nargs="+", metavar="SPEC", help="DIAMETER[:word...][@X,Y,Z][~DAYS], or none")
    parser.add_argument("--prior-days", type=int, metavar="D")
    parser.add_argument("--slices", type=int)
    parser.add_argument("--spacing", type=float, help="distance of slices, mm")
    parser.add_argument("--thickness", type=float, help="slice thickness, mm; the spacing unless given")
    parser.add_argument("--kernel", choices=sorted(KERNELS))
    parser.add_argument("--noise", type=float, metavar="HU")
    parser.add_argument("--matrix", type=int, default=512, help="rows and columns")
    parser.add_argument("--format", choices=("dicom", "npz"), default="dicom")
    parser.add_argument("--fresh-uids", action="store_true", help="new UIDs at every call instead of the seed's")
    parser.add_argument("--json", action="store_true", help="print the truth")
    return parser


def specs(words: list[str] | None) -> tuple[Spec, ...] | None:
    """The nodules asked for; None where the seed decides; raises SpecError."""
    if words is None:
        return None
    return tuple(parse(word) for word in words if word != "none")


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 when all was written, 2 for wishes that can't be met."""
    options = arguments().parse_args(argv)
    try:
        truths = _run(options)
    except SpecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(truths if len(truths) > 1 else truths[0], indent=2))
    else:
        for truth in truths:
            sizes = ", ".join(f"{n['diameter_mm']:g} mm {n['density']}" for n in truth["nodules"])
            print(f"seed {truth['seed']} {truth['study_date']} {truth['shape']}: {sizes or 'no nodules'}")
    return 0


def _run(options: argparse.Namespace) -> list[dict[str, Any]]:
    def wishes(seed: int) -> Wishes:
        return Wishes(
            seed=seed, nodules=specs(options.nodules), slices=options.slices, spacing=options.spacing,
            thickness=options.thickness, kernel=options.kernel, noise=options.noise, matrix=options.matrix,
        )  # fmt: skip

    if options.format == "npz":
        seeds = range(options.seed, options.seed + options.count)
        return [make_npz(options.out / f"{seed:06d}.npz", wishes(seed)) for seed in seeds]
    return make(options.out, wishes(options.seed), prior_days=options.prior_days, fresh=options.fresh_uids)


if __name__ == "__main__":
    sys.exit(main())
