"""Running the graph of an ONNX file on a device. The only module that imports onnxruntime."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from tui_gen.contract import Port
from tui_gen.cuda import REPAIR, both_runtimes, missing_driver
from tui_gen.errors import TuiGenError

try:
    import onnxruntime as ort
except ImportError as fault:
    raise TuiGenError(f"onnxruntime cannot be imported ({fault}); {REPAIR}") from fault

Provider = Literal["auto", "cpu", "cuda"]
RUNTIME = ort.__version__

_FATAL = 4

ort.set_default_logger_severity(_FATAL)  # faults come as exceptions; without this they are also printed


class Session:
    """A graph that was opened. Keeps nothing of what it computes, so any thread may use it.

    threads: of one run. yielding: they do not wait for more work on the processors, which others may want.

    Raises TuiGenError for a graph that cannot be opened.
    """

    def __init__(self, graph: bytes, threads: int, *providers: str, yielding: bool = False) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = _FATAL
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.force_spinning_stop", str(int(yielding)))
        # ORT_ENABLE_ALL adds only layouts for convolutions, which a step has none of, and crashes on fp16 LSTMs.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        with tempfile.TemporaryDirectory(prefix="tui-gen-") as empty:
            # Whatever file a tensor might still point at, it is looked for here and not found.
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", empty)
            with _told("model.onnx cannot be opened"):
                self._session = ort.InferenceSession(graph, options, providers=list(providers), enable_fallback=0)
        self.providers: list[str] = self._session.get_providers()
        """Where it really runs."""
        self.inputs = [Port(port.name, port.type, tuple(port.shape)) for port in self._session.get_inputs()]
        self.outputs = [Port(port.name, port.type, tuple(port.shape)) for port in self._session.get_outputs()]
        self._names = [port.name for port in self.outputs]

    def run(self, feeds: Mapping[str, Any]) -> list[NDArray[Any]]:
        """From inputs by name to outputs in their order, in new memory. Raises TuiGenError."""
        with _told("onnxruntime could not run the model"):
            found: list[NDArray[Any]] = self._session.run(self._names, feeds)
        return found

    def bound(self, inputs: Sequence[NDArray[Any]], outputs: Sequence[NDArray[Any]]) -> Callable[[], None]:
        """What to call to compute outputs from inputs in the memory where they lie, on the CPU; it must outlive the
        call. Raises TuiGenError when called, also if the outputs have other shapes.
        """
        binding, run = self._session.io_binding(), self._session.run_with_iobinding
        for bind, ports, arrays in (
            (binding.bind_input, self.inputs, inputs),
            (binding.bind_output, self.outputs, outputs),
        ):
            for port, array in zip(ports, arrays, strict=True):
                bind(port.name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)

        def call() -> None:
            try:  # and no context manager, which takes its time at every token
                run(binding)
            except Exception as fault:  # onnxruntime's own exceptions share no other base
                raise TuiGenError(f"onnxruntime could not run the model: {_first_line(fault)}") from fault

        return call


def open_session(graph: bytes, provider: Provider, threads: int) -> tuple[Session, str]:
    """The session, and why it is not on CUDA if it is not and might have been."""
    if provider == "cpu":
        return Session(graph, threads, "CPUExecutionProvider"), ""
    trouble = missing_driver() or both_runtimes()
    if not trouble and "CUDAExecutionProvider" not in ort.get_available_providers():
        trouble = "this onnxruntime was built without CUDA; install onnxruntime-gpu in its place"
    if not trouble:
        session = _cuda_session(graph, threads)
        if session:
            return session, ""
        trouble = "the CUDA libraries are missing or too old; pip install 'tui-gen[cuda]'"
    if provider == "cuda":
        raise TuiGenError(f"CUDA cannot be used: {trouble}; without --provider cuda it runs on the CPU")
    return Session(graph, threads, "CPUExecutionProvider"), trouble


def _cuda_session(graph: bytes, threads: int) -> Session | None:
    """A session that really has CUDA, or None. onnxruntime prints what it tries; nobody asked."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(TuiGenError):
        ort.preload_dlls()
        session = Session(graph, threads, "CUDAExecutionProvider", "CPUExecutionProvider")
        return session if "CUDAExecutionProvider" in session.providers else None
    return None


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Turns a fault of onnxruntime into one line; its exceptions share no other base."""
    try:
        yield
    except Exception as fault:
        raise TuiGenError(f"{what}: {_first_line(fault)}") from fault


def _first_line(fault: Exception) -> str:
    return str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__


def open_blindly(path: str) -> None:
    """Opens a graph on the CPU and keeps any error to itself; a crash is what the caller looks for."""
    with contextlib.suppress(TuiGenError):
        Session(Path(path).read_bytes(), 1, "CPUExecutionProvider")
