"""Opening a graph on a GPU, and saying why that cannot be."""

from __future__ import annotations

from tui_gen.cuda import LIBRARIES, both_runtimes, driver_trouble, missing_library
from tui_gen.errors import TuiGenError
from tui_gen.runtime import CUDA_VERSION, Session, cuda_library, cuda_session, has_cuda

_OPTIONS = {
    # Products in TF32 keep 10 bits of each number; then greedy tokens differ from the CPU's.
    "use_tf32": "0",
    "arena_extend_strategy": "kSameAsRequested",
}
_RECORDING = {"enable_cuda_graph": "1"}


def cuda_trouble(device: int) -> str:
    """Why CUDA cannot be used on a device of this machine, as far as can be told at once; empty if it may."""
    trouble = driver_trouble(CUDA_VERSION or "0.0", device) or both_runtimes()
    if not trouble and not has_cuda():
        trouble = "this onnxruntime was built without CUDA; install onnxruntime-gpu in its place"
    return trouble


def open_cuda(graph: bytes, device: int, *, recording: bool = False) -> Session:
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


def open_recorded(graph: bytes, device: int) -> tuple[Session, bool]:
    """The same, and whether its runs can be recorded."""
    try:
        return open_cuda(graph, device, recording=True), True
    except TuiGenError:
        return open_cuda(graph, device), False


def in_vain(trouble: str) -> TuiGenError:
    """What to raise where CUDA was asked for and cannot be used."""
    return TuiGenError(f"CUDA cannot be used: {trouble}; without --provider cuda it runs on the CPU")
