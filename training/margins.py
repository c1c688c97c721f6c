"""Fits how margins are told (ai_adapters/margin.py): python -m training.margins FOLDER...

``FOLDER`` are those that ``training.places`` wrote of phantoms. Each solid nodule of 6 mm and more, its middle and size
a little wrong as a measurement would have them; margins count alike, however many there are of each. Prints the table,
and how good it is on scans that were left out (a sixth at a time).
"""

import sys
from dataclasses import astuple
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from ai_adapters.margin import FINE_UP_TO_MM, FROM_MM, outline
from training.cubes import DENSITIES, MARGINS, SPACINGS, Kind
from training.patches import WINDOW

Floats = npt.NDArray[np.float64]

_ANSWERS = ("circumscribed", "spiculated", "other")
#: How wrong middle (mm) and size are; the ridge.
_OFF_MM, _OFF_SIZE, _RIDGE = 0.3, 0.05, 0.003
_FOLDS = 6


def read(folder: Path, rng: np.random.Generator) -> list[tuple[Floats, int]]:
    """(figures, number of the answer) of each nodule of one scan."""
    names = ("kind", "diameter", "density", "margin", "offset")
    kind, diameters, density, margins, offsets = (np.load(folder / f"{name}.npy") for name in names)
    cubes = np.load(folder / "cubes.npy", mmap_mode="r")
    wanted = (kind == Kind.NODULE) & (diameters >= FROM_MM) & (density == DENSITIES.index("solid")) & (margins >= 0)
    rows = []
    for number in np.flatnonzero(wanted):
        diameter = float(diameters[number] * np.exp(rng.normal(0, _OFF_SIZE)))
        channel = 0 if diameter <= FINE_UP_TO_MM else 1
        low, high = WINDOW
        cube = cubes[number, channel].astype(np.float32) * ((high - low) / 255) + low
        middle = (cube.shape[0] - 1) / 2 + (offsets[number] + rng.normal(0, _OFF_MM, 3)) / SPACINGS[channel]
        name = MARGINS[margins[number]]
        answer = _ANSWERS.index(name) if name in _ANSWERS else len(_ANSWERS) - 1
        rows.append((np.array(astuple(outline(cube, middle, diameter, SPACINGS[channel]))), answer))
    return rows


def fit(figures: Floats, answers: npt.NDArray[np.int_]) -> Floats:
    """Weights (figures and one, answers) of the logistic model."""
    each = 1 / np.bincount(answers, minlength=len(_ANSWERS))[answers]
    inputs = np.c_[figures, np.ones(len(figures))]
    extent = (inputs.shape[1], len(_ANSWERS))

    def loss(flat: Floats) -> float:
        weights = flat.reshape(extent)
        logits = inputs @ weights
        missed = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(answers)), answers]
        return float((missed * each).sum() / each.sum() + _RIDGE * (weights[:-1] ** 2).sum())

    best: Floats = minimize(loss, np.zeros(extent).ravel()).x.reshape(extent)
    return best


def chances(figures: Floats, weights: Floats) -> Floats:
    """Of each answer."""
    logits = np.c_[figures, np.ones(len(figures))] @ weights
    out: Floats = np.exp(logits - np.logaddexp.reduce(logits, axis=1)[:, None])
    return out


def main() -> None:
    """Read the command line."""
    rng = np.random.default_rng(3)
    scans = [read(Path(folder), rng) for folder in sys.argv[1:]]
    scan = np.array([number for number, rows in enumerate(scans) for _ in rows])
    figures = np.array([row for rows in scans for row, _ in rows])
    answers = np.array([answer for rows in scans for _, answer in rows])
    means, spreads = figures.mean(axis=0), figures.std(axis=0)
    figures = (figures - means) / spreads
    guess = np.zeros((len(figures), len(_ANSWERS)))
    for fold in range(_FOLDS):
        out = scan % _FOLDS == fold
        guess[out] = chances(figures[out], fit(figures[~out], answers[~out]))
    print(f"{len(figures)} readings of nodules")
    for number, name in enumerate(_ANSWERS[:-1]):
        is_so = answers == number
        for least in (0.5, 0.6, 0.7):
            say = guess[:, number] >= least
            right, found = float(is_so[say].mean()), float(say[is_so].mean())
            print(f"{name} from {least}: told of {say.sum()}, right {right:.2f}, found {found:.2f}")
    print("means", np.round(means, 4).tolist())
    print("spreads", np.round(spreads, 4).tolist())
    for name, column in zip(_ANSWERS, fit(figures, answers).T, strict=True):
        print(name, np.round(column[:-1], 2).tolist(), round(float(column[-1]), 2))


if __name__ == "__main__":
    main()
