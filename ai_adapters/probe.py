"""Runs a foreign bundle once, in a process of its own: python -m ai_adapters.probe FOLDER.

Prints one JSON line, ``{"reason": ...}``, and exits 0 where the outputs are what the task expects, 1 where not. The
limits are set before the model is read: memory, processor time, no file larger than the answer, no core file.
"""

import json
import os
import resource
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ai_adapters import foreign
from ai_adapters.manifest import BrokenManifest
from ai_adapters.networks import networks
from ai_adapters.onnx_session import BrokenModel
from ai_adapters.registry import read_bundle
from ai_adapters.run import nodule_plan

_MEMORY = 6 << 30
_PROCESSOR_SECONDS = 90
_OUTPUT_BYTES = 4096


def _limit() -> None:
    """Bound what the process may take from here on."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_PROCESSOR_SECONDS, _PROCESSOR_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_OUTPUT_BYTES, _OUTPUT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def check(folder: Path) -> str | None:
    """Why the bundle does not do what its task expects; None where it does."""
    try:
        bundle = read_bundle(folder)
        if foreign.is_foreign(bundle.manifest):
            foreign.check(bundle)
            return None
        opened = networks(bundle, threads=1)
        plan = nodule_plan(bundle.manifest)
        size, noise = plan.crop, np.random.default_rng(0)
        # Two at once, as crops are read: a model of one fixed batch would fail there.
        heat, share = (maps[0] for maps in opened.read(_noise(noise, (2, size, size, size))))
        if opened.pointer is not None:
            small = opened.pointer(_noise(noise, (2, size, size, size)))
            if small.min() < 0 or small.max() > 1:
                return "the output small is not within 0..1"
        if opened.judge is not None and plan.reduction is not None:
            cube = plan.reduction.cube
            chance, *_ = opened.judge(_noise(noise, (1, len(cube.spacings_mm), *(cube.size,) * 3)))
            if not 0 <= chance[0, 0] <= 1:
                return "the output chance is not within 0..1"
    except (BrokenManifest, BrokenModel) as error:
        return str(error)
    except MemoryError:
        return "the model needs more memory than is allowed"
    if heat.shape != (size // 2,) * 3 or share.shape != (size,) * 3:
        return f"the outputs have shapes {heat.shape} and {share.shape}; expected {(size // 2,) * 3} and {(size,) * 3}"
    for name, values in (("heat", heat), ("share", share)):
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
            return f"the output {name} is not within 0..1"
    return None


def _noise(rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    return rng.uniform(-1, 1, shape).astype(np.float32)


def main() -> None:
    """Check the folder on the command line."""
    answer = os.dup(sys.stdout.fileno())
    # What a model or its runtime prints is nobody's business.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    _limit()
    reason = check(Path(sys.argv[1]))
    os.write(answer, json.dumps({"reason": reason}).encode()[:_OUTPUT_BYTES])
    sys.exit(0 if reason is None else 1)


if __name__ == "__main__":
    main()
