"""What the scanner does to the patient: resolution and correlated noise of a reconstruction kernel."""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from conformance.phantom.grid import Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernel:
    """A reconstruction kernel by its transfer function: a Gaussian with an edge-enhancing rise."""

    name: str
    #: Standard deviation of the Gaussian in space, mm.
    blur: float
    #: Height of the rise above 1, and the frequency where it is largest, cycles/mm.
    rise: float
    rise_at: float
    #: Usual noise of a 1 mm slice, HU.
    noise: float

    def transfer(self, frequency: Floats) -> Floats:
        """Modulation at a spatial frequency in cycles/mm."""
        gauss = np.exp(-2.0 * (np.pi * self.blur * frequency) ** 2)
        ratio = (frequency / self.rise_at) ** 2
        out: Floats = gauss * (1.0 + self.rise * ratio * np.exp(1.0 - ratio))
        return out


KERNELS = {
    "soft": Kernel(name="soft", blur=0.60, rise=0.0, rise_at=0.3, noise=22.0),
    "standard": Kernel(name="standard", blur=0.47, rise=0.08, rise_at=0.3, noise=32.0),
    "sharp": Kernel(name="sharp", blur=0.34, rise=0.45, rise_at=0.5, noise=62.0),
}


class Reconstruction:
    """Filters ideal slices with the kernel and adds noise of the kernel's texture."""

    def __init__(self, kernel: Kernel, shape: tuple[int, int], pixel: float, noise: float) -> None:
        self._shape = shape
        fy = fft.fftfreq(shape[0], pixel)[:, None]
        fx = fft.rfftfreq(shape[1], pixel)[None, :]
        frequency = np.sqrt(fy**2 + fx**2)
        transfer = kernel.transfer(frequency)
        self._transfer = transfer.astype(np.float32)
        # The ramp of filtered back-projection makes noise grow with frequency until the kernel cuts it off.
        texture = np.sqrt(frequency + 0.02) * transfer
        pairs = np.full(frequency.shape, 2.0)
        pairs[:, 0] = 1.0
        power = float((pairs * texture**2).sum()) / (shape[0] * shape[1])
        self._texture = (noise / np.sqrt(power) * texture).astype(np.float32)

    def slice(self, ideal: Floats, loudness: float, rng: np.random.Generator) -> Floats:
        """One reconstructed slice; ``loudness`` scales the noise."""
        spectrum = fft.rfft2(ideal.astype(np.float32, copy=False)) * self._transfer
        grain = fft.rfft2(rng.standard_normal(self._shape, dtype=np.float32))
        spectrum += (np.float32(loudness) * self._texture) * grain
        out: Floats = fft.irfft2(spectrum, s=self._shape)
        return out
