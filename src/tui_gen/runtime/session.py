"""Runs the graph of an ONNX file on a device. The only module that imports onnxruntime."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from threading import get_ident
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_gen.errors import DeviceFullError, DeviceLostError, TuiGenError
from tui_gen.runtime.contract import Port
from tui_gen.runtime.cuda import LIBRARIES, REPAIR, both_runtimes, driver_trouble, missing_library
from tui_gen.runtime.watch import WATCH, Run, Speed

try:
    import onnxruntime as ort
    from onnxruntime.capi import build_and_package_info
except ImportError as fault:
    if isinstance(fault.__cause__, KeyboardInterrupt):  # in the middle of its initialization
        raise fault.__cause__ from None
    raise TuiGenError(f"onnxruntime cannot be imported ({fault}); {REPAIR}") from fault

Provider = Literal["auto", "cpu", "cuda"]
RUNTIME = ort.__version__
CUDA_VERSION: str = getattr(build_and_package_info, "cuda_version", "")
"""That this onnxruntime was built for; empty for one without CUDA."""
_FATAL = 4
_UNRECORDED = "-1"
_NOWHERE = os.path.join(os.devnull, "none")
"""A folder that nobody can make."""
_FULL = (
    "out of memory",
    "failed to allocate memory",
    "available memory of",
    "bad allocation",
    "cuda failure 2:",
    "alloc_failed",
    "allocation_failed",
)
_LOST = ("cuda failure", "cuda error", "cublas", "cudnn", "curand")
"""Of what onnxruntime says, in lower case, when a device has no room, and when it fails."""
_NO_ROOM = "there is not enough memory for a step of so many samples; ask for fewer"
_LEAST_MEMORY = 2**31
"""Bytes that foreign models may take together, on a machine of any size."""
_OPTIONS = {
    # Products in TF32 keep 10 bits of each number; then greedy tokens differ from the CPU's.
    "use_tf32": "0",
    "arena_extend_strategy": "kSameAsRequested",
}
_RECORDING = {"enable_cuda_graph": "1"}


ort.set_default_logger_severity(_FATAL)  # faults come as exceptions; without this they are also printed


class Place(NamedTuple):
    """A device, as onnxruntime names it."""

    kind: Literal["cpu", "cuda"]
    number: int = 0


class DeviceArray:
    """Numbers in the memory of a device. Raises DeviceFullError, if there is no room for it, and DeviceLostError."""

    def __init__(self, shape: Sequence[int], kind: str, place: Place) -> None:
        """kind: NumPy's name of the type of number."""
        with _errors_as("the device's memory cannot be used"):
            allocate = ort.OrtValue.ortvalue_from_shape_and_type
            self.value: Any = allocate(list(shape), np.dtype(kind).type, place.kind, place.number)
        self.shape, self._kind, self._near = tuple(shape), np.dtype(kind), place.kind == "cpu"
        self.nbytes = int(np.prod(self.shape)) * self._kind.itemsize

    def write(self, array: NDArray[Any]) -> None:
        """Fills it; the array must be of its shape."""
        if array.shape != self.shape or array.dtype != self._kind:
            raise ValueError(f"{array.dtype}{array.shape} does not fit {self._kind}{self.shape}")
        if self.nbytes:
            try:  # and no context manager, as below
                self.value.update_inplace(array)
            except Exception as fault:
                raise _kind_of(fault)(f"the device's memory cannot be written: {_first_line(fault)}") from fault

    def read(self) -> NDArray[Any]:
        """A copy."""
        try:
            return self.value.numpy().copy() if self._near else self.value.numpy()
        except Exception as fault:
            raise _kind_of(fault)(f"the device's memory cannot be read: {_first_line(fault)}") from fault


class OnnxSession:
    """A graph that was opened. Keeps nothing of what it computes, so any thread may use it.

    threads: of one run. provider: the first choice; what it cannot run falls to the CPU. options: the provider's.
    yielding: threads do not wait for more work on the processors, which others may want.

    Raises TuiGenError for a graph that cannot be opened.
    """

    def __init__(
        self,
        graph: bytes,
        threads: int,
        provider: str = "CPUExecutionProvider",
        *,
        options: Mapping[str, str] | None = None,
        yielding: bool = False,
    ) -> None:
        settings = ort.SessionOptions()
        settings.log_severity_level = _FATAL
        settings.intra_op_num_threads = threads
        settings.inter_op_num_threads = 1
        settings.add_session_config_entry("session.force_spinning_stop", str(int(yielding)))
        # Its own format begins with signs that an ONNX file may have as well, and nothing here reads that one.
        settings.add_session_config_entry("session.load_model_format", "ONNX")
        # ORT_ENABLE_ALL adds only layouts for convolutions, which a step has none of, and crashes on fp16 LSTMs.
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        if provider == "CPUExecutionProvider" and limit_memory.cache_info().currsize:
            settings.add_session_config_entry("session.use_env_allocators", "1")
        providers = [provider, *(["CPUExecutionProvider"] if provider != "CPUExecutionProvider" else [])]
        provider_options = [dict(options or {}), *[{}] * (len(providers) - 1)]
        # Whatever file a tensor might still point at, it is looked for where none can be.
        settings.add_session_config_entry("session.model_external_initializers_file_folder_path", _NOWHERE)
        with _errors_as("model.onnx cannot be opened"):
            self._session = ort.InferenceSession(
                graph, settings, providers=providers, provider_options=provider_options, enable_fallback=0
            )
        self.providers: list[str] = self._session.get_providers()
        """Where it really runs."""
        with _errors_as("model.onnx has names that are no text"):
            self.inputs = [Port(port.name, port.type, tuple(port.shape)) for port in self._session.get_inputs()]
            self.outputs = [Port(port.name, port.type, tuple(port.shape)) for port in self._session.get_outputs()]
        self._names = [port.name for port in self.outputs]
        self._speed = Speed()

    def run(self, feeds: Mapping[str, Any]) -> list[NDArray[Any]]:
        """From inputs by name to outputs in their order, in new memory. Raises TuiGenError."""
        outputs: list[NDArray[Any]] = []
        options = _run_options()
        first = feeds[self.inputs[0].name]

        def run() -> None:
            outputs.extend(self._session.run(self._names, feeds, options))

        self._watched(run, options, first.size)()
        return outputs

    def bind(self, inputs: Sequence[NDArray[Any]], outputs: Sequence[NDArray[Any]]) -> Callable[[], None]:
        """A callable that computes outputs from inputs in the memory where they lie, on the CPU, and keeps that memory.

        Raises TuiGenError when called, also if the outputs have other shapes.
        """
        binding = self._session.io_binding()
        binding.arrays = inputs, outputs
        for bind, ports, arrays in (
            (binding.bind_input, self.inputs, inputs),
            (binding.bind_output, self.outputs, outputs),
        ):
            for port, array in zip(ports, arrays, strict=True):
                bind(port.name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        return self._runner(binding, _run_options(), inputs[0].size)

    def bind_on_device(
        self, inputs: Mapping[str, DeviceArray], outputs: Mapping[str, DeviceArray], recording: int | None = None
    ) -> Callable[[], None]:
        """The same for inputs and outputs by name in the memory of a device.

        recording: a number of its own under which the device's work is recorded at the first call and replayed from
        then on, for a session that was opened for that; None computes it step by step.
        """
        binding = self._session.io_binding()
        for name, array in inputs.items():
            binding.bind_ortvalue_input(name, array.value)
        for name, array in outputs.items():
            binding.bind_ortvalue_output(name, array.value)
        options = _run_options(_UNRECORDED if recording is None else str(recording))
        return self._runner(binding, options, max(array.shape[0] for array in inputs.values()))

    def _runner(self, binding: Any, options: Any, size: int) -> Callable[[], None]:
        return self._watched(partial(self._session.run_with_iobinding, binding, options), options, size)

    def _watched(self, compute: Callable[[], None], options: Any, size: int) -> Callable[[], None]:
        """What computes with these options, to be ended where it takes too long. size: tokens that it reads."""
        run, watch = Run(options, self._speed, size), WATCH
        watch.add(run)

        def call() -> None:
            run.thread = get_ident()
            run.count += 1
            try:  # and no context manager, which takes its time at every token
                if watch.asleep:
                    watch.wake()
                compute()
            except Exception as fault:  # onnxruntime's own exceptions share no other base
                if reason := run.take_reason():
                    raise TuiGenError(reason) from fault
                kind = _kind_of(fault)
                what = f"onnxruntime could not run the model: {_first_line(fault)}"
                raise kind(_NO_ROOM if kind is DeviceFullError else what) from fault
            finally:
                run.count += 1

        return call


def _run_options(recording: str = _UNRECORDED) -> Any:
    options = ort.RunOptions()
    # also on the CPU: for options without this entry, looking for it takes several times as long as a small step
    options.add_run_config_entry("gpu_graph_id", recording)
    return options


@cache
def limit_memory() -> None:
    """Lets all sessions that are opened from now on take half of the machine's memory together, on the CPU, where the
    system says how much it has: what a foreign graph takes for some number of samples is known for no other.
    """
    if not hasattr(os, "sysconf"):
        return
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    place = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(place, ort.OrtArenaCfg({"max_mem": max(_LEAST_MEMORY, memory // 2)}))


def cuda_session(graph: bytes, threads: int, options: Mapping[str, str]) -> OnnxSession | None:
    """A session that really has CUDA; None where onnxruntime gives another. Raises TuiGenError where it gives none."""
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it tries, and nobody asked
        ort.preload_dlls()
        _take_memory_as_needed()
        session = OnnxSession(graph, threads, "CUDAExecutionProvider", options=options)
    return session if "CUDAExecutionProvider" in session.providers else None


def _take_memory_as_needed() -> None:
    """Arrays on a device come from a pool of their own, which otherwise grows to the next power of two."""
    binding = ort.capi.onnxruntime_pybind11_state
    if hasattr(binding, "set_arena_extend_strategy"):
        binding.set_arena_extend_strategy(binding.ArenaExtendStrategy.kSameAsRequested)


def providers() -> list[str]:
    """What this onnxruntime was built for, such as `CUDA` and `CPU`; that says nothing of this machine."""
    return [name.removesuffix("ExecutionProvider") for name in ort.get_available_providers()]


def cuda_library() -> str:
    """The path of the library that onnxruntime loads for CUDA."""
    name = "onnxruntime_providers_cuda"
    folder = Path(ort.__file__).parent / "capi"
    return str(next((path for path in (folder / f"lib{name}.so", folder / f"{name}.dll") if path.exists()), ""))


@contextlib.contextmanager
def _errors_as(what: str) -> Iterator[None]:
    """Turns a fault of onnxruntime into one line; its exceptions share no other base."""
    try:
        yield
    except Exception as fault:
        raise _kind_of(fault)(f"{what}: {_first_line(fault)}") from fault


def _kind_of(fault: Exception) -> type[TuiGenError]:
    message = str(fault).lower()
    if isinstance(fault, MemoryError) or any(sign in message for sign in _FULL):
        return DeviceFullError
    return DeviceLostError if any(sign in message for sign in _LOST) else TuiGenError


def _first_line(fault: Exception) -> str:
    return str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__


def cuda_trouble(device: int) -> str:
    """Why CUDA cannot be used on a device of this machine, as far as can be told at once; empty if it may."""
    trouble = driver_trouble(CUDA_VERSION or "0.0", device) or both_runtimes()
    if not trouble and "CUDA" not in providers():
        trouble = "this onnxruntime was built without CUDA; install onnxruntime-gpu in its place"
    return trouble


def open_cuda(graph: bytes, device: int, *, recording: bool = False) -> OnnxSession:
    """A session that runs on a GPU. recording: for runs that are recorded and replayed, which not every graph allows.

    Raises TuiGenError that names what is missing.
    """
    options = {"device_id": str(device), **_OPTIONS, **(_RECORDING if recording else {})}
    try:
        session = cuda_session(graph, 1, options)
    except TuiGenError as fault:
        raise _missing() or fault from fault
    if session is None:
        raise _missing() or TuiGenError(f"the CUDA libraries do not work with the driver; {LIBRARIES}")
    return session


def _missing() -> TuiGenError | None:
    """Which library is missing, if one is."""
    library = missing_library(cuda_library())
    return TuiGenError(f"{library} is missing; {LIBRARIES}") if library else None


def open_recordable(graph: bytes, device: int) -> tuple[OnnxSession, bool]:
    """Opens a CUDA session with CUDA graphs, or else without; returns it and whether it has them."""
    try:
        return open_cuda(graph, device, recording=True), True
    except TuiGenError:
        return open_cuda(graph, device), False


def in_vain(trouble: str) -> TuiGenError:
    """What to raise where CUDA was asked for and cannot be used."""
    return TuiGenError(f"CUDA cannot be used: {trouble}; without --provider cuda it runs on the CPU")
