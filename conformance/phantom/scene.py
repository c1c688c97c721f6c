"""One patient, complete: organs, trees, bones, benign lookalikes and nodules, in body coordinates."""

from dataclasses import dataclass

import numpy as np

from conformance.phantom import trees
from conformance.phantom.anatomy import Fields, build
from conformance.phantom.grid import Floats, sample
from conformance.phantom.lookalikes import Lookalikes, strew
from conformance.phantom.nodules import Nodule, Spec
from conformance.phantom.patient import Patient, draw
from conformance.phantom.placement import Placer, drawn_specs
from conformance.phantom.skeleton import bones, cartilage
from conformance.phantom.tubes import Tubes, chain, joined


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """All that the renderer needs, apart from pose and scanner."""

    seed: int
    patient: Patient
    fields: Fields
    vessels: Tubes
    airway_walls: Tubes
    airway_lumens: Tubes
    bones: Tubes
    cartilage: Tubes
    lookalikes: Lookalikes
    nodules: tuple[Nodule, ...]


def compose(seed: int, specs: list[Spec] | None) -> Scene:
    """The patient of a seed with the nodules asked for (None: as many and such as the seed draws)."""
    patient = draw(np.random.default_rng([seed, 1]))
    fields = build(patient, seed)
    vessels, walls, lumens = _trees(patient, fields, np.random.default_rng([seed, 2]))
    rng = np.random.default_rng([seed, 3])
    wanted = drawn_specs(rng) if specs is None else specs
    placer = Placer(fields, vessels, lumens, rng)
    nodules = [placer.place(spec, n + 1) for n, spec in enumerate(wanted)]
    bone_rng = np.random.default_rng([seed, 4])
    return Scene(
        seed=seed, patient=patient, fields=fields, vessels=vessels, airway_walls=walls, airway_lumens=lumens,
        bones=bones(patient, bone_rng), cartilage=cartilage(patient),
        lookalikes=strew(patient, fields, vessels, nodules, np.random.default_rng([seed, 5])), nodules=tuple(nodules),
    )  # fmt: skip


def _trees(patient: Patient, fields: Fields, rng: np.random.Generator) -> tuple[Tubes, Tubes, Tubes]:
    """Vessels of both lungs and the mediastinum, airway walls and airway lumens."""
    vessels, walls, lumens = [_great_vessels(patient)], [], []
    trachea = _trachea(patient)
    lumens.append(trachea)
    walls.append(trachea.widened(1.3))
    s = patient.scale
    for side in (-1.0, 1.0):
        hilum = np.array([-44.0, -6.0, -20.0]) * s if side < 0 else np.array([46.0, 2.0, -16.0]) * s
        outlet = np.array([-40.0, 4.0, -46.0]) * s if side < 0 else np.array([40.0, 10.0, -44.0]) * s
        bronchus = np.array([-38.0, 2.0, -26.0]) * s if side < 0 else np.array([46.0, 6.0, -30.0]) * s
        for root, kind in ((hilum, "artery"), (outlet, "vein")):
            for cloud in _lobes(patient, fields, side, rng):
                tree = trees.grow(cloud, root, np.array([side, 0.0, 0.0]), rng)
                radii = tree.radii(patient.twig)
                vessels.append(trees.bent(tree, radii, rng))
                if kind == "artery":
                    tree = _moved_root(tree, bronchus)
                    tubes, lumen = trees.beside(tree, radii, 22, rng)
                    tubes = _moved_root(tubes, bronchus)
                    inner = trees.bent(tubes, lumen, rng, wobble=0.05)
                    lumens.append(inner)
                    walls.append(inner.widened(0.3 + 0.14 * inner.start_radius))
    return joined(*vessels), joined(*walls), joined(*lumens)


def _moved_root(tree: trees.Tree, root: Floats) -> trees.Tree:
    start = tree.start.copy()
    start[tree.parent < 0] = root
    return trees.Tree(start=start, end=tree.end, leaves=tree.leaves, parent=tree.parent)


def _lobes(patient: Patient, fields: Fields, side: float, rng: np.random.Generator) -> list[Floats]:
    """Points for a tree's ends, one cloud a lobe, none within a few mm of the pleura or on a fissure."""
    deep = (
        (fields.lung < -2.0)
        & (fields.side * side > 0)
        & (np.abs(fields.oblique) > 2.0)
        & (np.abs(fields.horizontal) > 2.0)
    )
    cells = np.argwhere(deep)
    step = fields.grid.spacing[0]
    litres = len(cells) * step**3 / 1e6
    count = min(len(cells), int(litres * patient.density))
    points = cells[rng.choice(len(cells), count, replace=False), ::-1] * step + np.asarray(fields.grid.origin)
    points = points + rng.uniform(-0.5 * step, 0.5 * step, points.shape)
    upper = sample(fields.oblique, fields.grid, points) > 0
    above = sample(fields.horizontal, fields.grid, points) > 0
    clouds = [points[~upper], points[upper & above], points[upper & ~above]]
    return [cloud for cloud in clouds if len(cloud) > 8]


def _trachea(patient: Patient) -> Tubes:
    s = patient.scale
    r = (7.4 if patient.sex == "F" else 8.8) * s
    return joined(
        chain(np.array([(0, 2, 190), (0, 4, 110), (1, 3, 60), (0, 0, 4)]) * s, [r, r, r, r]),
        chain(np.array([(0, 0, 6), (-18, 1, -12), (-38, 2, -26)]) * s, [0.85 * r, 0.78 * r, 0.7 * r]),
        chain(np.array([(0, 0, 6), (20, 2, -12), (46, 6, -30)]) * s, [0.8 * r, 0.7 * r, 0.62 * r]),
    )


def _great_vessels(patient: Patient) -> Tubes:
    """Aorta with its arch's branches, caval vein, pulmonary trunk and the veins' ends at the left atrium."""
    s = patient.scale
    lines = [
        ([(4, -38, -55), (-12, -36, -20), (-13, -30, 12), (-4, -20, 32), (8, -4, 39)], [15, 16, 15.5, 14.5, 14]),
        ([(8, -4, 39), (18, 12, 36), (22, 26, 20), (21, 29, -60), (20, 30, -230)], [14, 13, 12.5, 12, 11.5]),
        ([(-6, -22, 34), (-11, -18, 70), (-16, -8, 130)], [6, 5.5, 5]),
        ([(4, -12, 40), (8, -8, 80), (12, 0, 130)], [4.2, 4, 4]),
        ([(13, 4, 40), (20, 6, 80), (34, 8, 125)], [5, 4.5, 4.5]),
        ([(-26, -22, 70), (-26, -20, 20), (-24, -16, -45)], [8.5, 9.5, 10.5]),
        ([(-40, -26, 100), (-27, -24, 74)], [7, 7.5]),
        ([(36, -24, 92), (5, -34, 60), (-25, -23, 62)], [6, 6, 6.5]),
        ([(18, -48, -48), (16, -36, -20), (12, -22, -8)], [14, 14.5, 13]),
        ([(12, -22, -8), (-14, -14, -12), (-44, -6, -20)], [11, 10, 8]),
        ([(12, -22, -8), (28, -6, -4), (46, 2, -16)], [11, 10.5, 8]),
        ([(-40, 4, -46), (-14, 6, -50)], [7.5, 9]),
        ([(40, 10, -44), (18, 8, -50)], [7.5, 9]),
        ([(-20, 6, -56), (22, 6, -56)], [17, 17]),
        ([(-3, 26, -230), (-3, 24, 40)], [2.5, 2.5]),
    ]  # fmt: skip
    return joined(*(chain(np.array(points, dtype=np.float64) * s, np.array(radii) * s) for points, radii in lines))
