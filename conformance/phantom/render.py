"""A scene in a pose on a grid: ideal HU slice by slice, then the scanner's blur and noise."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from conformance.phantom.anatomy import Fields, gradient_width, posed
from conformance.phantom.grid import Bools, Floats, Grid, Resampler
from conformance.phantom.nodules import Nodule, Shape
from conformance.phantom.patient import Pose
from conformance.phantom.scanner import KERNELS, Reconstruction
from conformance.phantom.scene import Scene
from conformance.phantom.tubes import Tubes, coverage, subslices

Labels = npt.NDArray[np.uint8]
Pixels = npt.NDArray[np.int16]

#: Slices composed at once.
_SLAB = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """How the scene is scanned."""

    grid: Grid
    pose: Pose
    kernel: str
    #: Standard deviation in a water-like region, HU.
    noise: float
    #: Nominal slice thickness, mm.
    thickness: float
    #: Pixels outside the inscribed circle are empty.
    circle: bool
    #: Seed of the noise.
    noise_seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Patch:
    """A nodule's (or band's) share of the voxels around it."""

    low: tuple[int, int, int]
    share: Floats
    hu: Floats | float
    number: int


def slices(scene: Scene, scan: Scan) -> Iterator[tuple[Pixels, Bools, Labels]]:
    """Per slice from feet to head: HU as int16, lung (with its nodules) as bool, nodule numbers as uint8."""
    painter = _Painter(scene, scan)
    grid = scan.grid
    reconstruction = Reconstruction(KERNELS[scan.kernel], (grid.shape[1], grid.shape[2]), grid.spacing[2], scan.noise)
    rng = np.random.default_rng([scan.noise_seed, 9])
    outside = _beyond(scan)
    for first in range(0, grid.shape[0], _SLAB):
        for ideal, lung, label in painter.slab(first, min(first + _SLAB, grid.shape[0])):
            # More tissue in the beam, more noise: shoulders and abdomen are louder than the lungs.
            loudness = float(np.clip((np.mean(ideal > -300.0) / 0.38) ** 0.5, 0.75, 1.7))
            image = reconstruction.slice(ideal, loudness, rng)
            image[outside] = -1024.0
            yield np.clip(np.rint(image), -1024, 3071).astype(np.int16), lung, label


class _Painter:
    """Composes ideal slices, slab by slab so that memory stays small."""

    def __init__(self, scene: Scene, scan: Scan) -> None:
        self._scene, self._scan = scene, scan
        fields = posed(scene.fields, scan.pose, scan.grid)
        pixel = scan.grid.spacing[2]
        self._fields = fields
        self._lung = fields.lung / gradient_width(fields.lung, fields.grid, pixel, scan.thickness)
        self._body = fields.body / gradient_width(fields.body, fields.grid, pixel, scan.thickness)
        self._half_grid = scan.grid.binned(2)
        self._half = Resampler(fields.grid, self._half_grid)
        self._full = Resampler(fields.grid, scan.grid)
        self._double = Resampler(_flat(self._half_grid), _flat(scan.grid))
        self._table = _table(fields, scan)
        self._patches = [self._patch(n) for n in scene.nodules]
        self._bands = [self._band(shape, hu) for shape, hu in scene.lookalikes.bands]

    def slab(self, first: int, last: int) -> Iterator[tuple[Floats, Bools, Labels]]:
        scene, scan = self._scene, self._scan
        x, y, z = scan.grid.origin
        part = Grid(
            shape=(last - first, *scan.grid.shape[1:]),
            spacing=scan.grid.spacing,
            origin=(x, y, z + first * scan.grid.spacing[0]),
        )

        def share(tubes: Tubes) -> Floats:
            return coverage(tubes.moved(scan.pose.turn, scan.pose.shift), part, scan.thickness)

        looks = scene.lookalikes
        painted = {
            "vessel": share(scene.vessels), "wall": share(scene.airway_walls), "lumen": share(scene.airway_lumens),
            "bone": share(scene.bones), "marrow": share(scene.bones.widened(-1.7)), "cartilage": share(scene.cartilage),
            "strand": share(looks.strands), "speck": share(looks.specks), "calcified": share(looks.calcified),
        }  # fmt: skip
        for k in range(first, last):
            yield self._slice(k, {name: v[k - first] for name, v in painted.items()})

    def _slice(self, k: int, tubes: dict[str, Floats]) -> tuple[Floats, Bools, Labels]:
        patient = self._scene.patient
        lung_level = self._full.slice(self._lung, k)
        lung = np.clip(0.5 - lung_level, 0.0, 1.0)
        inner, label = self._inside_lung(k, tubes, lung_level)
        image = self._soft(k)
        _mix(image, tubes["cartilage"] * (1 - lung), 90.0)
        _mix(image, tubes["bone"] * (1 - lung), patient.bone[1])
        _mix(image, tubes["marrow"] * (1 - lung), patient.bone[0])
        _mix(image, lung, inner)
        _mix(image, tubes["vessel"], patient.blood)
        _mix(image, tubes["wall"], -40.0)
        _mix(image, tubes["lumen"], -995.0)
        body = np.clip(0.5 - self._full.slice(self._body, k), 0.0, 1.0)
        outside = self._table
        return outside + body * (image - outside), lung_level < 0.0, label

    def _inside_lung(self, k: int, tubes: dict[str, Floats], lung_level: Floats) -> tuple[Floats, Labels]:
        """HU inside the lung: tissue, fissures, bands, nodules, lookalikes; and the nodules' numbers."""
        half, fields = self._half, self._fields
        tissue = half.slice(fields.tissue, k)
        for sheet in (fields.oblique, fields.horizontal):
            distance = half.slice(sheet, k)
            tissue += 120.0 * np.exp(-((distance / 0.9) ** 2))
        image = self._double_up(tissue)
        label = np.zeros(image.shape, dtype=np.uint8)
        for patch in self._bands + self._patches:
            plane = k - patch.low[0]
            if not 0 <= plane < patch.share.shape[0]:
                continue
            share = patch.share[plane]
            where = (
                slice(patch.low[1], patch.low[1] + share.shape[0]),
                slice(patch.low[2], patch.low[2] + share.shape[1]),
            )
            hu = patch.hu if isinstance(patch.hu, float) else patch.hu[plane]
            _mix(image[where], share, hu)
            if patch.number:
                label[where][(share >= 0.5) & (lung_level[where] < 0.0)] = patch.number
        _mix(image, tubes["strand"], 10.0)
        _mix(image, tubes["speck"], 0.0)
        _mix(image, tubes["calcified"], 600.0)
        return image, label

    def _soft(self, k: int) -> Floats:
        """Everything outside the lungs but thin bones: at half resolution, where edges are soft anyway."""
        patient, fields, half = self._scene.patient, self._fields, self._half
        pixel = self._half_grid.spacing[2]

        def inside(field: Floats, grow: float = 0.0) -> Floats:
            out: Floats = np.clip(0.5 - (half.slice(field, k) - grow) / pixel, 0.0, 1.0)
            return out

        marbling = half.slice(fields.marbling, k)
        image = np.full((self._half_grid.shape[1], self._half_grid.shape[2]), -102.0, dtype=np.float32) + 4 * marbling
        _mix(image, inside(-fields.body, 2.2), 10.0)
        flesh = inside(fields.muscle)
        streaks = np.clip(1.6 * (marbling - 1.0), 0.0, 1.0)
        _mix(image, flesh, patient.muscle - 120.0 * streaks)
        _mix(image, inside(fields.cavity, -1.0), -96.0 + 6 * marbling)
        _mix(image, inside(fields.dome), 58.0 + 0.25 * (patient.blood - 40.0))
        _mix(image, inside(fields.heart), max(patient.blood, 42.0))
        column = half.slice(fields.bone, k)
        _mix(image, np.clip(0.5 - (column - 3.5) / pixel, 0, 1), 55.0)
        _mix(image, np.clip(0.5 - column / pixel, 0, 1), 0.75 * patient.bone[1])
        _mix(image, np.clip(0.5 - (column + 2.0) / pixel, 0, 1), patient.bone[0])
        _mix(image, inside(fields.canal), 25.0)
        return self._double_up(image)

    def _double_up(self, plane: Floats) -> Floats:
        return self._double.slice(plane[None], 0)

    def _patch(self, nodule: Nodule) -> _Patch:
        low, points = self._points(nodule.shape)
        level = nodule.shape.level(points)
        fade = max(nodule.fade, self._scan.grid.spacing[2] / 2)
        share = self._averaged(np.clip(0.5 - level / fade, 0.0, 1.0))
        hu: Floats | float = nodule.hu
        if nodule.density != "solid":
            hu = nodule.hu + self._averaged(_mottle(points - nodule.shape.center))
        if nodule.core is not None:
            core = self._averaged(np.clip(0.5 - nodule.core.level(points), 0.0, 1.0))
            hu = hu + core * (nodule.core_hu - hu)
        elif nodule.calcium is not None:
            depth = np.linalg.norm(points - nodule.shape.center, axis=-1) / nodule.shape.radius
            core = self._averaged(np.clip(2.5 - 4.0 * depth, 0.0, 1.0))
            hu = nodule.hu + core * (nodule.calcium - nodule.hu)
        return _Patch(low=low, share=share, hu=hu, number=nodule.number)

    def _band(self, shape: Shape, hu: float) -> _Patch:
        low, points = self._points(shape)
        reach = np.linalg.norm((points - shape.center) @ shape.stretch, axis=-1) / shape.radius
        # A thin plate: the fade is measured across it, where one unit of reach is its half thickness.
        share = np.clip(1.6 - 1.2 * reach, 0.0, 1.0)
        return _Patch(low=low, share=self._averaged(share), hu=hu, number=0)

    def _points(self, shape: Shape) -> tuple[tuple[int, int, int], Floats]:
        """Body coordinates of the sub-samples (slice, sub-slice, row, sub-row, column, sub-column) around a shape."""
        grid, scan = self._scan.grid, self._scan
        center, extent = scan.pose.to_scanner(shape.center[None])[0], shape.extent()
        low, axes = [], []
        for k in range(3):
            more = extent + (scan.thickness / 2 if k == 0 else grid.spacing[k])
            first = int(np.ceil((center[2 - k] - more - grid.origin[2 - k]) / grid.spacing[k]))
            last = int(np.floor((center[2 - k] + more - grid.origin[2 - k]) / grid.spacing[k]))
            first, last = max(first, 0), min(last, grid.shape[k] - 1)
            offsets = subslices(scan.thickness) if k == 0 else np.array([-0.25, 0.25]) * grid.spacing[k]
            at = grid.origin[2 - k] + grid.spacing[k] * np.arange(first, max(last, first) + 1)
            low.append(first)
            axes.append(at[:, None] + offsets)
        z, y, x = np.meshgrid(*(a.ravel() for a in axes), indexing="ij")
        points = scan.pose.to_body(np.stack([x, y, z], axis=-1))
        shape6 = tuple(n for a in axes for n in a.shape)
        return (low[0], low[1], low[2]), points.reshape(*shape6, 3)

    @staticmethod
    def _averaged(values: Floats) -> Floats:
        out: Floats = values.mean(axis=(1, 3, 5)).astype(np.float32)
        return out


def _mottle(offset: Floats) -> Floats:
    """Unevenness of ground glass: waves of a few mm across each other, HU."""
    waves = ((1.1, 0.5, -0.3), (-0.4, 0.9, 0.7), (0.6, -0.5, 1.0), (0.3, 0.35, 0.5))
    out: Floats = 22.0 * sum(np.cos(offset @ np.asarray(wave) + n) for n, wave in enumerate(waves))
    return out


def _beyond(scan: Scan) -> Bools:
    """Pixels outside the reconstruction circle, where the scanner has one."""
    rows, columns = scan.grid.shape[1:]
    y, x = (np.arange(n) - (n - 1) / 2 for n in (rows, columns))
    out: Bools = (y[:, None] ** 2 + x[None, :] ** 2 > (columns / 2) ** 2) & scan.circle
    return out


def _mix(image: Floats, share: Floats, hu: Floats | float) -> None:
    """Replace ``share`` of every pixel by tissue of ``hu``, in place."""
    image += share * (hu - image)


def _flat(grid: Grid) -> Grid:
    """The grid of one slice, for resampling in the plane."""
    return Grid(shape=(1, *grid.shape[1:]), spacing=grid.spacing, origin=(grid.origin[0], grid.origin[1], 0.0))


def _table(fields: Fields, scan: Scan) -> Floats:
    """Air with the couch: two thin curved shells with foam between, under the patient's back."""
    grid = scan.grid
    y, x = grid.axis(1)[:, None], grid.axis(2)[None, :]
    back = fields.grid.axis(1)[np.flatnonzero((fields.body < 0).any(axis=(0, 2)))[-1]] + 5.0
    surface = back - 22.0 * (1.0 - np.clip(1.0 - (x / 260.0) ** 2, 0.0, None) ** 0.5) + 4.0
    depth = y - surface
    wide = np.abs(x) < 215.0
    image = np.full((grid.shape[1], grid.shape[2]), -1000.0)
    _mix(image, np.clip(0.5 - (np.abs(depth - 9.0) - 9.0) / grid.spacing[2], 0, 1) * wide, -940.0)
    for shell in (0.0, 18.0):
        _mix(image, np.clip(0.5 - (np.abs(depth - shell) - 0.9) / grid.spacing[2], 0, 1) * wide, -180.0)
    return image.astype(np.float32)
