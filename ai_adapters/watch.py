"""Where the time of an analysis goes: seconds by stage, and the tensors that the models were fed, if anybody asks."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.floating]


@dataclass(kw_only=True)
class Watch:
    """The stages of one analysis; a stage that comes again adds to its seconds."""

    seconds: dict[str, float] = field(default_factory=dict)
    #: Where the tensors go with their models' names, in the order in which they were fed; None to keep none.
    fed: list[tuple[str, Float]] | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts the seconds of what is done inside."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin

    def feed(self, model: str, tensor: Float) -> None:
        """Remembers a tensor that is fed to a model of the bundle, where somebody wants it."""
        if self.fed is not None:
            self.fed.append((model, tensor))
