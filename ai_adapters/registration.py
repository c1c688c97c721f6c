"""Where a place of one chest CT lies in another one of the same patient.

Rigid first (it takes a second), then a coarse B-spline, since breath moves the lungs by centimetres and lets the spine
stay. Both compare by correlation, inside the lungs and a rim round them. SimpleITK's registration framework; measured
on a warped CT in ``docs/decisions/0024-tracking.md``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from ai_adapters.lung_mask import Mask, grown, lung_mask
from ai_adapters.volume import Volume, resample
from dicom_sr.findings import Point

#: Grid of the registration, mm; of a nodule no detail is needed, of the lungs' vessels enough is left.
_SPACING = 4.0
#: What tells lung, vessels and bone apart, HU.
_WINDOW = (-1000, 400)
#: Rim round the lungs, voxels: ribs hold what breath does not move.
_RIM = 4
#: Cells of the B-spline along each axis, and steps to take.
_MESH, _STEPS = (4, 4, 4), 25
#: Share of the voxels that each step looks at.
_RIGID_SHARE, _SPLINE_SHARE = 0.2, 0.3
#: Correlation below which two scans are not taken for the same chest: one of two persons had 0.86, warped ones 0.99.
_LEAST_CORRELATION = 0.9


class NotComparable(Exception):
    """Two scans that can't be laid onto each other; ``reason`` says why in one sentence."""

    def __init__(self, reason: str) -> None:
        """Keeps the reason for whoever reads the report."""
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Registration:
    """A mapping of one patient space into another."""

    #: Correlation (0..1) of the two scans, laid onto each other.
    correlation: float
    _transform: Any

    def __call__(self, point: Sequence[float]) -> Point:
        """The place (mm, LPS) in the later scan of a place (mm, LPS) in the earlier one."""
        x, y, z = self._transform.TransformPoint([float(value) for value in point])
        return (x, y, z)


@dataclass(frozen=True, kw_only=True)
class _Chest:
    image: Any
    #: The lungs and what lies round them.
    region: Mask
    #: Of the lungs, mm.
    center: Point


def register(earlier: Volume, later: Volume, threads: int | None = None) -> Registration:
    """The mapping from ``earlier`` to ``later``; raises NotComparable."""
    if threads:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    fixed, moving = _chest(earlier), _chest(later)
    rigid = sitk.Euler3DTransform()
    rigid.SetCenter(fixed.center)
    rigid.SetTranslation([after - before for before, after in zip(fixed.center, moving.center, strict=True)])
    method = _method(fixed, _RIGID_SHARE)
    method.SetOptimizerAsRegularStepGradientDescent(4.0, 0.05, 60, relaxationFactor=0.6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(rigid, inPlace=True)
    method.Execute(fixed.image, moving.image)
    whole = _bent(fixed, moving, rigid)
    correlation = _correlation(fixed, moving, whole)
    if correlation < _LEAST_CORRELATION:
        raise NotComparable(f"the scans do not show the same chest (correlation {correlation:.2f})")
    return Registration(correlation=correlation, _transform=whole)


def _bent(fixed: _Chest, moving: _Chest, rigid: Any) -> Any:
    spline = sitk.BSplineTransformInitializer(fixed.image, _MESH, 3)
    method = _method(fixed, _SPLINE_SHARE)
    method.SetMovingInitialTransform(rigid)
    method.SetOptimizerAsLBFGSB(
        gradientConvergenceTolerance=1e-4, numberOfIterations=_STEPS, maximumNumberOfFunctionEvaluations=_STEPS + 10
    )
    method.SetInitialTransform(spline, inPlace=True)
    method.Execute(fixed.image, moving.image)
    # The last one added is applied first.
    return sitk.CompositeTransform([rigid, spline])


def _method(fixed: _Chest, share: float) -> Any:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    region = sitk.GetImageFromArray(fixed.region.astype(np.uint8))
    region.CopyInformation(fixed.image)
    method.SetMetricFixedMask(region)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(share, seed=1)
    method.SetInterpolator(sitk.sitkLinear)
    return method


def _chest(volume: Volume) -> _Chest:
    grid = resample(volume, _SPACING)
    lungs = lung_mask(grid.voxels, _SPACING)
    if not lungs.any():
        raise NotComparable("no lungs are seen in one of the scans")
    z, y, x = np.argwhere(lungs).mean(axis=0)
    return _Chest(image=_image(grid), region=grown(lungs, _RIM), center=grid.to_patient((z, y, x)))


def _image(grid: Volume) -> Any:
    """The grid as SimpleITK has it: axes (column, row, slice), the same patient space."""
    image = sitk.GetImageFromArray(np.clip(grid.voxels, *_WINDOW).astype(np.float32))
    image.SetSpacing(grid.spacing[::-1])
    image.SetOrigin(grid.affine[:3, 3].tolist())
    directions: npt.NDArray[np.float64] = grid.affine[:3, :3] / np.asarray(grid.spacing)
    image.SetDirection(directions[:, ::-1].ravel().tolist())
    return image


def _correlation(fixed: _Chest, moving: _Chest, transform: Any) -> float:
    laid = sitk.Resample(moving.image, fixed.image, transform, sitk.sitkLinear, float(_WINDOW[0]))
    one = sitk.GetArrayViewFromImage(fixed.image)[fixed.region]
    other = sitk.GetArrayViewFromImage(laid)[fixed.region]
    return float(np.corrcoef(one, other)[0, 1])
