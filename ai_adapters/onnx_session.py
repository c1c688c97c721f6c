"""An ONNX model ready to run: CUDA where there is one, else CPU, and what it really runs on."""

import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

Float = npt.NDArray[np.float32]

#: Tried in this order, where the installed onnxruntime has them.
_PREFERRED = ("CUDAExecutionProvider", "CPUExecutionProvider")
_ERROR_ONLY = 3
_state = onnxruntime.capi.onnxruntime_pybind11_state
#: All that onnxruntime raises for a model that is broken, unknown to it or fed wrongly.
_FAILURES = (
    RuntimeError,
    ValueError,
    _state.Fail,
    _state.InvalidArgument,
    _state.InvalidGraph,
    _state.InvalidProtobuf,
    _state.NotImplemented,
    _state.RuntimeException,
)


class BrokenModel(Exception):
    """A model file that onnxruntime cannot load or run; the message says why."""


@dataclass(frozen=True, kw_only=True)
class OnnxSession:
    """A loaded model; ``session`` is onnxruntime's own."""

    session: Any

    @property
    def providers(self) -> tuple[str, ...]:
        """What the session says that it runs on, first choice first."""
        return tuple(self.session.get_providers())

    def run(self, outputs: Sequence[str], feeds: Mapping[str, npt.NDArray[np.generic]]) -> list[Float]:
        """The outputs by name; raises BrokenModel where the model does not fit."""
        run = self.run_bound if self.providers[0] == "CUDAExecutionProvider" else self.session.run
        try:
            return [np.asarray(value, dtype=np.float32) for value in run(list(outputs), feeds)]
        except _FAILURES as error:
            raise BrokenModel(f"the model does not run: {str(error)[:300]}") from error

    def run_bound(self, outputs: Sequence[str], feeds: Mapping[str, npt.NDArray[np.generic]]) -> list[Any]:
        """The outputs through IO binding: one copy to the device and one back, made where the device is.

        https://onnxruntime.ai/docs/performance/tune-performance/iobinding.html
        """
        binding = self.session.io_binding()
        for name, values in feeds.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(values))
        for name in outputs:
            binding.bind_output(name)
        self.session.run_with_iobinding(binding)
        return list(binding.copy_outputs_to_cpu())


def open_session(model: bytes, threads: int | None = None, preferred: Sequence[str] = ()) -> OnnxSession:
    """A session on the model's bytes, so that what runs is what was digested.

    ``threads`` None: all cores; ``preferred``: execution providers to try in this order, empty for CUDA, then CPU.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERROR_ONLY
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = threads or 0
    # Threads that spin while they wait cost the other processes of the machine more than they gain here.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    available = onnxruntime.get_available_providers()
    providers = [name for name in preferred or _PREFERRED if name in available]
    if "CUDAExecutionProvider" in providers:
        # CUDA and cuDNN come as wheels, in folders where the loader does not look by itself. What it says of those that
        # are not there is no result, so it goes to standard error.
        with contextlib.redirect_stdout(sys.stderr):
            onnxruntime.preload_dlls()
    try:
        return OnnxSession(session=onnxruntime.InferenceSession(model, options, providers=providers))
    except _FAILURES as error:
        raise BrokenModel(f"the model does not load: {str(error)[:300]}") from error
