"""A model: one ONNX file behind `start`, `step`, and the further abilities that `StepModel` declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tui_gen.card import ModelCard
from tui_gen.errors import DeviceFullError, DeviceLostError, TuiGenError
from tui_gen.generation.protocol import DeviceSample, score_steps
from tui_gen.runtime.contract import check_contract
from tui_gen.runtime.cuda import NO_DRIVER
from tui_gen.runtime.cuda_model import CudaModel, DeviceState, device_opener, join
from tui_gen.runtime.parts import BatchSession
from tui_gen.runtime.placement import Candidates, Placement, Work, no_room
from tui_gen.runtime.sequence_graph import TARGETS, sequence_graph
from tui_gen.runtime.session import OnnxSession, Place, Provider
from tui_gen.runtime.state import HostState, Pool
from tui_gen.sampling.params import Floats, Logits, SamplingParams, Tokens, draw_tokens, weights

_EXTERNAL_DATA = b"\x0a\x08location"
"""How protobuf writes the key that points a tensor at another file."""
T = TypeVar("T")
RunState = HostState | DeviceState
"""The state of a run, wherever it lies."""
RunGraph = Callable[[Mapping[str, Any]], Sequence[NDArray[Any]]]
"""From inputs by name to outputs; raises TuiGenError."""
_TOLERANCE = 1e-4
_TRIAL_TOKENS = 8
"""Tokens that are also read one by one, when a graph is first run in this way."""


class Model:
    """A step function with its card. Keeps nothing of a generation, so several may share it.

    graph: the bytes of an ONNX file that keeps the contract. provider: `auto` measures whether the CPU or CUDA is
    faster, for each number of samples. threads: per step on the CPU; small networks are fastest on one. device: the
    number of the GPU. processors: that a batch, reading and scoring may take; 0 stands for as many as `threads`.

    Raises TuiGenError for a graph that breaks the contract or cannot be opened, and when CUDA is asked for in vain.
    """

    def __init__(
        self,
        graph: bytes,
        card: ModelCard,
        *,
        provider: Provider = "auto",
        threads: int = 1,
        device: int = 0,
        processors: int = 0,
    ) -> None:
        if _EXTERNAL_DATA in graph:
            raise TuiGenError(
                "model.onnx keeps weights in another file, which is refused; export it with all data inside"
            )
        self.card, self.threads, self.processors = card, threads, processors or threads
        self.graph = graph
        """The bytes of its file."""
        self._session = BatchSession(graph, threads, self.processors)
        self.inputs, self.outputs = self._session.inputs, self._session.outputs
        check_contract(self.inputs, self.outputs, card.vocab_size)
        self._pool = Pool(self.inputs[1:], card.vocab_size)
        self._sequences = SequenceRunner(self, graph, self._open_on_cpu)
        self._placement: Placement | None = None
        self._device: CudaModel | None = None
        self._warnings: list[str] = []
        self.provider_note = ""
        self.use(provider, device)

    def use(self, provider: Provider, device: int = 0) -> None:
        """Where it may run from now on. Raises TuiGenError when CUDA is asked for in vain."""
        self._placement, self._device, self.provider_note = None, None, ""
        if provider == "cpu":
            return
        open_device = partial(self._open_device, Place("cuda", device))
        candidates = Candidates(open_device, self._cpu_work, self._device_work, self.threads)
        placement = Placement(self.graph, provider, device, candidates)
        self.provider_note = placement.note
        if not placement.hopeless:
            self._placement = placement

    def place(self, batch: int) -> None:
        """Decides where so many samples run, which may take a moment; otherwise their first step does."""
        if self._placement:
            self._device = self._placement.of(batch)
            self.provider_note = self._placement.note

    @property
    def eos(self) -> int | None:
        """The token that ends a sample."""
        return self.card.eos

    @property
    def rows_may_leave(self) -> bool:
        """As of `StepModel`."""
        return self._placement is None and not self.mixes_rows

    @property
    def mixes_rows(self) -> bool:
        """As of `StepModel`: an LSTM in int8 does."""
        return self._session.mixes_rows

    @property
    def provider(self) -> str:
        """Where the samples that were placed last really run: `CUDA` or `CPU`."""
        return "CUDA" if self._device and "CUDAExecutionProvider" in self._device.providers else "CPU"

    @property
    def runs_on(self) -> str:
        """The same with the reason, as in `CPU (no NVIDIA driver found)`."""
        return f"{self.provider} ({self.provider_note})" if self.provider_note else self.provider

    @property
    def placed(self) -> tuple[str, str]:
        """Where it runs, and why, if there was a choice: on a machine with a GPU."""
        return self.provider, "" if self.provider_note == NO_DRIVER else self.provider_note

    @property
    def has_warnings(self) -> bool:
        """Whether `take_warnings` has something to tell."""
        return bool(self._warnings)

    def take_warnings(self) -> list[str]:
        """What went wrong with a device since the last time, in one line each; the run goes on."""
        warnings, self._warnings = self._warnings, []
        return warnings

    def start(self, batch: int) -> RunState:
        """The state before the first token: zeros."""
        return self._pool.zeros(batch)

    def state(self, arrays: Sequence[NDArray[Any]], batch: int) -> HostState:
        """A state of tensors that were computed elsewhere, in the order of the graph's inputs; it takes them over."""
        return self._pool.state(arrays, batch)

    def step(self, tokens: Tokens, state: RunState) -> tuple[Logits, RunState]:
        """Reads int64[batch]; returns logits float32[batch, vocab] and the next state. Changes no argument."""
        if len(tokens) != len(state):
            raise TuiGenError(f"{len(tokens)} tokens do not go with the state of {len(state)} samples")
        if self._placement:
            result = self._try_device(len(tokens), state, lambda device, here: device.step(tokens, here))
            if result:
                return result
        return self._step_in_place(tokens, state if isinstance(state, HostState) else self._on_host(state))

    def draw(self, tokens: Tokens, state: RunState, uniform: Floats, rows: Floats) -> DeviceSample | None:
        """Reads int64[batch] and draws what follows, where that is done beside the model; None on the CPU.

        uniform: float64[batch] in [0, 1). rows: as of `tui_gen.sampling.params.weights`.
        """
        if not self._placement:
            return None
        sample = self._try_device(len(tokens), state, lambda device, here: device.draw(tokens, here, uniform, rows))
        return DeviceSample(sample[0], partial(self._logits, sample[1]), sample[1]) if sample else None

    def _step_in_place(self, tokens: Tokens, state: HostState) -> tuple[Logits, HostState]:
        """Neither copies the state nor asks for memory for it."""
        after = self._pool.unset(len(tokens))
        before, into = state.buffers, after.buffers
        into.tokens[:] = tokens
        run = into.runs.get(before)
        if run is None:
            inputs, outputs = (into.tokens, *before.parts), (into.logits, *into.parts)
            run = into.runs[before] = self._session.bind(inputs, outputs)
        run()
        return into.logits.copy(), after

    def read(self, tokens: Tokens, state: RunState) -> HostState | None:
        """Reads int64[batch, n], n >= 1, at once, many times as fast as step by step; returns the state after them.

        None for a graph that can only be stepped. Raises TuiGenError for a state that is not finite.
        """
        after = self._sequences.read(tokens, self._on_host(state))
        if after is not None and not after.is_finite():
            raise TuiGenError("the model's state is no longer finite: its weights are damaged or it overflows")
        return after

    def score(self, tokens: Tokens, following: Tokens, state: RunState) -> tuple[Floats, HostState] | None:
        """Reads int64[batch, n] likewise; following: int64[batch, n], a token after each of them.

        Returns the natural logarithm of the probability of what follows, float32[batch, n], and the state after
        `tokens`; None for a graph that can only be stepped.
        """
        return self._sequences.score(tokens, following, self._on_host(state))

    def _open_on_cpu(self, graph: bytes) -> RunGraph:
        """Runs another graph on the CPU; a product for many tokens gains from every processor."""
        return OnnxSession(graph, self.processors, yielding=True).run

    def _open_device(self, place: Place) -> CudaModel:
        return CudaModel(
            device_opener(self.graph, self.card.vocab_size, place), self.inputs[1:], self.card.vocab_size, self.state
        )

    def _try_device(self, batch: int, state: RunState, work: Callable[[CudaModel, DeviceState], T]) -> T | None:
        """Works on the device of so many samples; None where that is the CPU, or has become it."""
        assert self._placement
        parts = 1
        while device := self._placement.of(batch):
            self._device, self.provider_note = device, self._placement.note
            here = device.bring(state)
            try:
                result = work(device, here)
            except DeviceFullError:
                parts = 2 * len(here.parts)
                state = self._on_host(here)
                state = device.divide(state, parts) or state
                if isinstance(state, HostState):
                    device.forget()
                    self._give_up(batch, no_room(batch), lost=False)
            except DeviceLostError as fault:
                self._give_up(batch, f"the GPU failed: {fault}", lost=True)
            else:
                if parts > 1:
                    self._warnings.append(
                        f"the GPU has no room for {batch} samples at once; a step runs in {parts} parts"
                    )
                return result
        self._device, self.provider_note = None, self._placement.note
        return None

    def _give_up(self, batch: int, why: str, *, lost: bool) -> None:
        assert self._placement
        self._placement.leave(batch, why, lost=lost)
        self._warnings.append(f"{why}; the CPU goes on with the run")

    def _on_host(self, state: RunState) -> HostState:
        """The same state on the CPU; where the device does not give it, computed again."""
        if isinstance(state, HostState):
            return state
        try:
            return state.compact()
        except (DeviceFullError, DeviceLostError):
            return self._recompute(state, 0)

    def _logits(self, state: DeviceState) -> Logits:
        try:
            return state.logits()
        except (DeviceFullError, DeviceLostError):
            last = [history.tokens[position - 1] for history, position in state.parts]
            return self._step_in_place(np.concatenate(last), self._recompute(state, 1))[0]

    def _recompute(self, state: DeviceState, before: int) -> HostState:
        """The state so many tokens before, computed on the CPU from what is kept there."""
        parts = []
        for history, position in state.parts:
            here = history.anchor
            for tokens in history.tokens[: position - before]:
                _, here = self._step_in_place(tokens, here)
            parts.append(here.arrays())
        return self.state(join(parts), len(state))

    def _cpu_work(self, batch: int) -> Work:
        state, tokens, uniform = self._pool.zeros(batch), np.zeros(batch, dtype=np.int64), np.full(batch, 0.5)
        rows = SamplingParams().row()
        return lambda: draw_tokens(weights(self._step_in_place(tokens, state)[0], rows), uniform)

    def _device_work(self, device: CudaModel, batch: int) -> Work:
        state, tokens, uniform = device.bring(self.start(batch)), np.zeros(batch, dtype=np.int64), np.full(batch, 0.5)
        rows = SamplingParams().row()
        return lambda: device.draw(tokens, state, uniform, rows)


class SequenceRunner:
    """Prefill: runs the graph over a whole sequence when it can be rewritten to do so exactly."""

    def __init__(self, model: Model, graph: bytes, open_graph: Callable[[bytes], RunGraph]) -> None:
        """graph: of the step function. open_graph: opens another graph, when it is first needed."""
        self._model, self._graph, self._open_graph = model, graph, open_graph
        self._runs: dict[bool, RunGraph | None] = {}

    def read(self, tokens: Tokens, state: HostState) -> HostState | None:
        """As `Model.read`."""
        run = self._run(scores=False)
        return self._model.state(run(self._feeds(tokens, state)), len(tokens)) if run else None

    def score(self, tokens: Tokens, following: Tokens, state: HostState) -> tuple[Floats, HostState] | None:
        """As `Model.score`."""
        run = self._run(scores=True)
        if not run:
            return None
        scores, *after = run(self._feeds(tokens, state) | {TARGETS: following.T.reshape(-1, 1)})
        return scores.reshape(tokens.shape[::-1]).T, self._model.state(after, len(tokens))

    def _feeds(self, tokens: Tokens, state: HostState) -> dict[str, Any]:
        return {
            port.name: part for port, part in zip(self._model.inputs, (tokens.T, *state.buffers.parts), strict=True)
        }

    def _run(self, *, scores: bool) -> RunGraph | None:
        if scores not in self._runs:
            graph = sequence_graph(self._graph, scores=scores)
            self._runs[scores] = self._open_graph(graph) if graph else None  # for the trial
            if graph and not self._is_right(scores=scores):
                self._runs[scores] = None
        return self._runs[scores]

    def _is_right(self, *, scores: bool) -> bool:
        """Whether some tokens from some state on give what they give one by one."""
        rng, vocab = np.random.default_rng(0), self._model.outputs[0].shape[1]
        tokens, following = rng.integers(0, int(vocab or 1), size=(2, 2, _TRIAL_TOKENS))
        zeros = self._model.start(2).arrays()
        start = self._model.state([rng.normal(0, 0.1, part.shape).astype(part.dtype) for part in zeros], 2)
        try:
            expected, after = score_steps(self._model, tokens, following, start)
            result = self.score(tokens, following, start) if scores else (expected, self.read(tokens, start))
        except TuiGenError:
            return False
        assert result
        assert result[1]
        pairs = zip((expected, *after.arrays()), (result[0], *result[1].arrays()), strict=True)
        return all(np.allclose(one, other, rtol=0, atol=_TOLERANCE, equal_nan=True) for one, other in pairs)
