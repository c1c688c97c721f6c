"""Branching trees that fill a lobe: arteries with the bronchi beside them, and veins between.

Growth: a branch heads for the centre of the points it has to supply, the points are split by a plane, and each half is
a child's (the space-filling scheme of Kitaoka et al. 1999 and Tawhai et al. 2004). Radii follow Murray's law.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from conformance.phantom.grid import Floats
from conformance.phantom.tubes import Tubes

#: Murray's exponent between calibres of parent and children; 3 in theory, lower in measured lungs.
MURRAY = 2.75


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """Branches as straight lines before they are bent: child k starts where ``parent[k]`` ends."""

    start: Floats
    end: Floats
    #: Number of ends that each branch supplies.
    leaves: npt.NDArray[np.int64]
    #: Index of the parent branch, -1 for the first.
    parent: npt.NDArray[np.int64]

    def radii(self, twig: float) -> Floats:
        """Radius of each branch where it begins, mm."""
        out: Floats = twig * np.asarray(self.leaves, dtype=np.float64) ** (1.0 / MURRAY)
        return out


def grow(points: Floats, root: Floats, direction: Floats, rng: np.random.Generator) -> Tree:
    """A tree from ``root`` that reaches every point."""
    starts, ends, leaves, parents = [], [], [], []
    stack: list[tuple[npt.NDArray[np.int64], Floats, Floats, int]] = [
        (np.arange(len(points)), np.asarray(root, dtype=np.float64), np.asarray(direction, dtype=np.float64), -1)
    ]
    while stack:
        members, start, heading, parent = stack.pop()
        cloud = points[members]
        if len(members) == 1:
            end = cloud[0]
        else:
            share = rng.uniform(0.34, 0.5)
            end = start + share * (cloud.mean(axis=0) - start)
        starts.append(start)
        ends.append(end)
        leaves.append(len(members))
        parents.append(parent)
        if len(members) > 1:
            number = len(starts) - 1
            towards = _unit(end - start, heading)
            first = _split(cloud, towards, rng)
            stack.append((members[first], end, towards, number))
            stack.append((members[~first], end, towards, number))
    return Tree(start=np.array(starts), end=np.array(ends), leaves=np.array(leaves), parent=np.array(parents))


def _unit(vector: Floats, otherwise: Floats) -> Floats:
    length = float(np.sqrt(vector @ vector))
    return vector / length if length > 1e-6 else otherwise


def _split(cloud: Floats, heading: Floats, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Which points go to the first child: beyond a plane along the branch, across the cloud's longest extent."""
    centred = cloud - cloud.mean(axis=0)
    if len(cloud) > 4:
        normal = np.linalg.eigh(centred.T @ centred)[1][:, 2]
        normal = normal + 0.25 * rng.standard_normal(3)
        normal = normal - (normal @ heading) * heading * 0.7
    else:
        normal = rng.standard_normal(3)
    place = centred @ normal
    first: npt.NDArray[np.bool_] = place > np.sort(place)[int(rng.uniform(0.32, 0.68) * (len(place) - 1))]
    if first.all() or not first.any():
        first = np.arange(len(cloud)) % 2 == 0
    return first


def bent(tree: Tree, radii: Floats, rng: np.random.Generator, wobble: float = 0.065) -> Tubes:
    """The tree as tubes: every branch curved and tapered, a little wider where it forks."""
    length = np.linalg.norm(tree.end - tree.start, axis=1)
    pieces = np.clip(np.round(length / 7.0).astype(np.int64), 2, 5)
    tip = _tip_radii(tree, radii)
    starts, ends, first, last = [], [], [], []
    for count in np.unique(pieces):
        which = np.flatnonzero(pieces == count)
        t = np.linspace(0.0, 1.0, count + 1)
        sway = rng.standard_normal((len(which), 2, 3)) * (wobble * np.minimum(length[which], 22.0))[:, None, None]
        line = tree.start[which, None] + t[None, :, None] * (tree.end - tree.start)[which, None]
        line = (
            line
            + np.sin(np.pi * t)[None, :, None] * sway[:, :1]
            + 0.5 * np.sin(2 * np.pi * t)[None, :, None] * sway[:, 1:]
        )
        radius = radii[which, None] + t[None] * (tip[which] - radii[which])[:, None]
        radius[:, 1:-1] *= rng.uniform(0.9, 1.12, (len(which), count - 1))
        for k in range(count):
            starts.append(line[:, k])
            ends.append(line[:, k + 1])
            first.append(radius[:, k])
            last.append(radius[:, k + 1])
    return Tubes(
        start=np.concatenate(starts), end=np.concatenate(ends),
        start_radius=np.concatenate(first), end_radius=np.concatenate(last),
    )  # fmt: skip


def _tip_radii(tree: Tree, radii: Floats) -> Floats:
    """Radius at each branch's end: close to its widest child's, so that forks bulge as real ones do."""
    tip = 0.8 * radii
    child = np.flatnonzero(tree.parent >= 0)
    np.maximum.at(tip, tree.parent[child], np.minimum(radii[child] * 1.08, radii[tree.parent[child]]))
    out: Floats = tip
    return out


def beside(tree: Tree, radii: Floats, least: int, rng: np.random.Generator) -> tuple[Tree, Floats]:
    """The bronchi that run along an artery's branches down to those that supply ``least`` ends; with lumen radii."""
    keep = tree.leaves >= least
    number = np.cumsum(keep) - 1
    lumen = radii * rng.uniform(0.78, 0.95)
    heading = tree.end - tree.start
    heading = heading / np.maximum(np.linalg.norm(heading, axis=1, keepdims=True), 1e-6)
    lateral = np.cross(heading, rng.standard_normal(3))
    lateral = lateral / np.maximum(np.linalg.norm(lateral, axis=1, keepdims=True), 1e-6)
    shift_end = lateral * (radii + 1.2 * lumen + 0.3)[:, None]
    shift_start = np.where((tree.parent >= 0)[:, None], shift_end[tree.parent], 0.0)
    parent = np.where(tree.parent >= 0, number[tree.parent], -1)
    bronchi = Tree(
        start=(tree.start + shift_start)[keep],
        end=(tree.end + shift_end)[keep],
        leaves=tree.leaves[keep],
        parent=parent[keep],
    )
    return bronchi, lumen[keep]
