"""Ribs, breastbone, collarbones and shoulder blades as tubes, in body coordinates."""

import numpy as np

from conformance.phantom.grid import Floats
from conformance.phantom.patient import Patient
from conformance.phantom.tubes import Tubes, chain, joined


def bones(patient: Patient, rng: np.random.Generator) -> Tubes:
    """All bones that are long and thin; vertebrae are a field of anatomy."""
    return joined(*_ribs(patient, rng), _sternum(patient), *_girdle(patient))


def cartilage(patient: Patient) -> Tubes:
    """Costal cartilage from the ribs' ends towards the breastbone."""
    parts = []
    for number in range(2, 8):
        for side in (-1.0, 1.0):
            end = _rib_line(patient, number, side)[-1]
            goal = np.array([side * 14.0, -patient.cavity[1] - 9.0, end[2] + 9.0])
            parts.append(chain(np.stack([end, 0.5 * (end + goal) + [0, -4.0, -3.0], goal]), [5.0, 5.0, 4.5]))
    return joined(*parts)


def _surface(patient: Patient, z: Floats, angle: Floats) -> Floats:
    """Points just outside the cavity at heights z, by angle from the back (0) round the side to the front (pi)."""
    q = np.clip((patient.top - z) / (0.62 * (patient.top - patient.bottom)), 0.03, 1.0)
    half_width = patient.cavity[0] * np.sqrt(1.0 - (1.0 - q) ** 2.3) + 7.5
    half_depth = patient.cavity[1] * np.sqrt(1.0 - (1.0 - q) ** 2.7) + 7.5
    sine, cosine = np.sin(angle), np.cos(angle)
    x = half_width * np.abs(sine) ** (2 / 2.4)
    y = half_depth * np.sign(cosine) * np.abs(cosine) ** (2 / 2.4)
    y = y + (-6.0 + 24.0 * (1.0 - q)) * patient.scale + 5.0 * np.exp(-(((x - 55.0) / 30.0) ** 2)) * (y > 0)
    return np.stack([x, y, z], axis=-1)


def _rib_line(patient: Patient, number: int, side: float) -> Floats:
    level = patient.top + 14.0 - (number - 1) * 23.5 * patient.scale
    reach = np.pi * (0.86 if number <= 7 else 0.86 - 0.11 * (number - 7))
    angle = np.linspace(0.27, reach, 26)
    drop = (30.0 + 10.0 * min(number, 7)) * patient.scale * np.sin(np.clip(angle / np.pi, 0, 1) * np.pi / 2) ** 1.2
    line = _surface(patient, level - drop, angle)
    line[:, 0] *= side
    return line


def _ribs(patient: Patient, rng: np.random.Generator) -> list[Tubes]:
    out = []
    for number in range(1, 13):
        for side in (-1.0, 1.0):
            line = _rib_line(patient, number, side) + rng.normal(0, 0.6, 3)
            radius = (5.2 if number > 1 else 6.5) * patient.scale
            out.append(chain(line, np.full(len(line), radius)))
            spine = np.array([side * 19.0, float(patient.spine(line[:1, 2])[0]) + 12.0, line[0, 2] + 5.0])
            out.append(chain(np.stack([spine, line[0]]), [4.8, radius]))
    return out


def _sternum(patient: Patient) -> Tubes:
    s = patient.scale
    front = -patient.cavity[1] - 10.0
    rows = []
    for x in np.linspace(-11.0, 11.0, 7):
        line = [
            (x * 1.5, front * 0.78, 62 * s),
            (x * 1.3, front * 0.9, 38 * s),
            (x, front, 0.0),
            (x * 0.8, front - 2, -70 * s),
        ]
        rows.append(chain(line, [5.2, 5.2, 5.0, 4.5]))
    return joined(*rows)


def _girdle(patient: Patient) -> list[Tubes]:
    s, top = patient.scale, patient.top
    out = []
    for side in (-1.0, 1.0):
        out.append(
            chain(
                [(side * 20, -62 * s, 66 * s), (side * 70, -66 * s, top - 2), (side * 145, -10 * s, top + 30)],
                [7.0, 6.0, 6.0],
            )
        )
        tip = np.array([side * 108, 84, -40]) * s
        inner = np.array([side * 72, 96, 70]) * s
        outer = np.array([side * 150, 52, 86]) * s
        for share in np.linspace(0.0, 1.0, 26):
            upper = inner + share * (outer - inner) + np.array([0, 6.0, 0]) * np.sin(np.pi * share)
            thick = 4.2 if share in (0.0, 1.0) else 2.6
            out.append(chain(np.stack([tip, 0.5 * (tip + upper) + [0, 5.0, 0], upper]), [3.5, thick, thick]))
        out.append(chain(np.stack([inner, outer]), [4.0, 9.0]))
    return out
