"""How far measurements lie from the truth, as it was measured on scans whose truth is known; from the manifest."""

import math
from dataclasses import dataclass

from dicom_sr.findings import Uncertainty


@dataclass(frozen=True, kw_only=True, slots=True)
class Error:
    """What 95 % of errors (found less true, bias included) stayed within, either way."""

    #: The kind of nodule: a code's value; empty for what holds of all.
    density: str
    #: Mean diameter (mm) up to which it holds.
    up_to_mm: float
    #: Of an axis, or the mean of two, mm.
    length_mm: float
    #: Of the natural logarithm of a volume.
    log_volume: float

    def length(self, value: float) -> Uncertainty:
        """The 95 % interval of a length, mm; none is below nought."""
        half = self.length_mm
        return Uncertainty(below=round(min(half, value), 1), above=round(half, 1))

    def volume(self, value: float) -> Uncertainty:
        """The 95 % interval of a volume, mm3: a factor, so it is wider above."""
        factor = math.exp(self.log_volume)
        return Uncertainty(below=round(value - value / factor, 0), above=round(value * factor - value, 0))


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy:
    """Errors by kind and size."""

    #: By growing size.
    errors: tuple[Error, ...]

    def of(self, density: str, diameter_mm: float) -> Error | None:
        """The error of a nodule of that kind and size; the largest size's for larger ones."""
        fitting = [error for error in self.errors if error.density in ("", density)]
        return next((error for error in fitting if diameter_mm <= error.up_to_mm), fitting[-1] if fitting else None)
