"""One ONNX file behind start() and step(). The only module that imports onnxruntime."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tui_gen.at_once import AtOnce, Run
from tui_gen.card import ModelCard
from tui_gen.contract import STATE_TYPES, Port, State, check_contract
from tui_gen.cuda import REPAIR, both_runtimes, missing_driver
from tui_gen.errors import TuiGenError
from tui_gen.sampling import Floats, Logits, Tokens
from tui_gen.threads import cores

try:
    import onnxruntime as ort
except ImportError as fault:
    raise TuiGenError(f"onnxruntime cannot be imported ({fault}); {REPAIR}") from fault

Provider = Literal["auto", "cpu", "cuda"]
RUNTIME = ort.__version__

_FATAL = 4
_EXTERNAL_DATA = b"\x0a\x08location"
"""How protobuf writes the key that points a tensor at another file."""

ort.set_default_logger_severity(_FATAL)  # faults come as exceptions; without this they are also printed


class Model:
    """A step function with its card. Keeps nothing of a generation, so several may share it.

    graph: the bytes of an ONNX file that keeps the contract. provider: `auto` uses CUDA where it works. threads: per
    step; small networks are fastest on one.

    Raises TuiGenError for a graph that breaks the contract or cannot be opened, and when CUDA is asked for in vain.
    """

    def __init__(self, graph: bytes, card: ModelCard, *, provider: Provider = "auto", threads: int = 1) -> None:
        if _EXTERNAL_DATA in graph:
            raise TuiGenError(
                "model.onnx keeps weights in another file, which is refused; export it with all data inside"
            )
        self.card, self.threads = card, threads
        self._session, self.provider_note = _open(graph, provider, threads)
        self.inputs = [Port(port.name, port.type, tuple(port.shape)) for port in self._session.get_inputs()]
        self.outputs = [Port(port.name, port.type, tuple(port.shape)) for port in self._session.get_outputs()]
        check_contract(self.inputs, self.outputs, card.vocab_size)
        self._output_names = [port.name for port in self.outputs]
        self._at_once = AtOnce(self, graph, self._opened)

    @property
    def eos(self) -> int | None:
        """The token that ends a sample."""
        return self.card.eos

    @property
    def provider(self) -> str:
        """Where the session really runs: `CUDA` or `CPU`."""
        return "CUDA" if "CUDAExecutionProvider" in self._session.get_providers() else "CPU"

    @property
    def runs_on(self) -> str:
        """The same with the reason, as in `CPU (no NVIDIA driver found)`."""
        return f"{self.provider} ({self.provider_note})" if self.provider_note else self.provider

    def start(self, batch: int) -> State:
        """The state before the first token: zeros."""
        try:
            return tuple(np.zeros((batch, *port.shape[1:]), dtype=STATE_TYPES[port.type]) for port in self.inputs[1:])  # type: ignore[arg-type]
        except (MemoryError, ValueError) as fault:
            raise TuiGenError(f"there is not enough memory for {batch} samples; ask for fewer") from fault

    def step(self, tokens: Tokens, state: State) -> tuple[Logits, State]:
        """Reads int64[batch]; returns logits float32[batch, vocab] and the next state. Changes no argument."""
        feeds = {port.name: part for port, part in zip(self.inputs, (tokens, *state), strict=True)}
        logits, *after = _run(self._session, self._output_names, feeds)
        if logits.shape != (len(tokens), self.card.vocab_size):
            raise TuiGenError(f"model.onnx: logits came as {list(logits.shape)}, not [batch, {self.card.vocab_size}]")
        return logits, tuple(after)

    def read(self, tokens: Tokens, state: State) -> State | None:
        """Reads int64[batch, n], n >= 1, at once, many times as fast as step by step; returns the state after them.

        None for a graph that can only be stepped. Raises TuiGenError for a state that is not finite.
        """
        after = self._at_once.read(tokens, state)
        if after is not None and not all(np.isfinite(part).all() for part in after if part.dtype.kind == "f"):
            raise TuiGenError("the model's state is no longer finite: its weights are damaged or it overflows")
        return after

    def score(self, tokens: Tokens, following: Tokens, state: State) -> tuple[Floats, State] | None:
        """Reads int64[batch, n] likewise; following: int64[batch, n], a token after each of them.

        Returns the natural logarithm of the probability of what follows, float32[batch, n], and the state after
        `tokens`; None for a graph that can only be stepped.
        """
        return self._at_once.score(tokens, following, state)

    def _opened(self, graph: bytes) -> Run:
        """Runs another graph where this one runs; a product for many tokens gains from all processors."""
        session = _session(graph, cores(), *self._session.get_providers(), yielding=True)
        return lambda feeds: _run(session, None, feeds)


def _open(graph: bytes, provider: Provider, threads: int) -> tuple[ort.InferenceSession, str]:
    """The session, and why it is not on CUDA if it is not and might have been."""
    if provider == "cpu":
        return _session(graph, threads, "CPUExecutionProvider"), ""
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
    return _session(graph, threads, "CPUExecutionProvider"), trouble


def _cuda_session(graph: bytes, threads: int) -> ort.InferenceSession | None:
    """A session that really has CUDA, or None. onnxruntime prints what it tries; nobody asked."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(TuiGenError):
        ort.preload_dlls()
        session = _session(graph, threads, "CUDAExecutionProvider", "CPUExecutionProvider")
        return session if "CUDAExecutionProvider" in session.get_providers() else None
    return None


def _session(graph: bytes, threads: int, *providers: str, yielding: bool = False) -> ort.InferenceSession:
    """yielding: its threads do not wait for more work on the processors, which those of another session may want."""
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
        try:
            return ort.InferenceSession(graph, options, providers=list(providers), enable_fallback=0)
        except Exception as fault:  # onnxruntime's own exceptions share no other base
            raise TuiGenError(f"model.onnx cannot be opened: {_first_line(fault)}") from fault


def _run(session: ort.InferenceSession, names: list[str] | None, feeds: Mapping[str, Any]) -> list[NDArray[Any]]:
    try:
        found: list[NDArray[Any]] = session.run(names, feeds)
    except Exception as fault:  # onnxruntime's own exceptions share no other base
        raise TuiGenError(f"onnxruntime could not run the model: {_first_line(fault)}") from fault
    return found


def _first_line(fault: Exception) -> str:
    return str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__


def open_blindly(path: str) -> None:
    """Opens a graph on the CPU and keeps any error to itself; a crash is what the caller looks for."""
    with contextlib.suppress(TuiGenError):
        _session(Path(path).read_bytes(), 1, "CPUExecutionProvider")
