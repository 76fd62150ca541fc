"""A model whose state stays in the memory of a device: only what is sampled comes back.

Each run has two sets of buffers there, used in turn: a step reads the state in one and writes the next into the other,
always at the same addresses, so that the device's work can be recorded once and replayed. A state that was overwritten
meanwhile is computed again, from one that is kept on the host every so often, when somebody asks for it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tui_gen.errors import TuiGenError
from tui_gen.runtime.cell_unrolling import unroll_cells
from tui_gen.runtime.contract import Port
from tui_gen.runtime.cuda_buffers import CudaBuffers, DeviceGraph, DeviceGraphs, RecordingError, RecordingsFullError
from tui_gen.runtime.sampling_graph import sampler, with_sampler
from tui_gen.runtime.session import OnnxSession, Place, open_cuda, open_recordable
from tui_gen.runtime.state import HostState
from tui_gen.sampling.device_protocol import QUICK_TOP_K, DeviceParams, SampleReport, can_report
from tui_gen.sampling.params import Floats, Logits, Tokens

_BYTES_PER_TOKEN, _LEAST_INTERVAL = 256, 64
"""How many bytes of a sample's state may be fetched for each token, and after how many tokens at the earliest."""
_LOCK = threading.RLock()
"""All runs of all models take turns: while a device's work is recorded, nothing else in the process may touch the
device, or CUDA gives the recording up.
"""
_BATCHES = 4
"""Batch sizes whose buffers are kept."""
_MOST_PARTS = 8
"""Parts that a batch may be divided into when the device is full."""
MakeHostState = Callable[[Sequence[NDArray[Any]], int], HostState]
"""From tensors and the number of samples to a state on the host."""


class GraphOpener(Protocol):
    """Opens the graphs of a model on a device."""

    def __call__(self, *, record: bool) -> DeviceGraphs: ...


class CudaModel:
    """Steps on one device. Any thread may use it; they take turns."""

    def __init__(self, opener: GraphOpener, ports: Sequence[Port], vocab_size: int, host: MakeHostState) -> None:
        """opener: opens the graphs, with runs that can be recorded or without. ports: the inputs that are parts of the
        state. Raises TuiGenError that says what is missing.
        """
        self._opener, self._ports, self._vocab_size, self.host = opener, ports, vocab_size, host
        with _LOCK:
            self._graphs: DeviceGraphs | None = opener(record=True)
        self._buffers: OrderedDict[tuple[int, int], CudaBuffers] = OrderedDict()
        """By batch size and number of the part; of states that are computed again aside, by ~number."""
        self._numbers = count(1)
        self._former_traffic = 0
        self._params: tuple[bytes, int, DeviceParams] | None = None

    @property
    def traffic(self) -> int:
        """Bytes that went to the device or came back, so far."""
        return self._former_traffic + sum(buffers.traffic for buffers in self._buffers.values())

    @property
    def nbytes(self) -> int:
        """Of all buffers on the device; weights and what a step needs besides come on top."""
        return sum(buffers.nbytes for buffers in self._buffers.values())

    @property
    def providers(self) -> list[str]:
        """Where it really runs."""
        return self._graphs.step.session.providers if self._graphs else []

    @property
    def records(self) -> bool:
        """Whether its work is recorded and replayed."""
        return bool(self._graphs and self._graphs.step.recordable)

    def bring(self, state: HostState | DeviceState) -> DeviceState:
        """A state for this device. It is only copied there when a step needs it."""
        if isinstance(state, DeviceState):
            return state if state.store is self else self.bring(state.compact())
        return DeviceState(self, [(StateHistory(state, []), 0)])

    def divide(self, whole: HostState, parts: int) -> DeviceState | None:
        """A state for this device in so many parts, one after another in a step; None if they would be too small."""
        if parts > min(len(whole), _MOST_PARTS):
            return None
        self.forget()
        shares = np.array_split(np.arange(len(whole)), parts)
        return DeviceState(self, [(StateHistory(whole.rows(share), []), 0) for share in shares])

    def step(self, tokens: Tokens, state: DeviceState) -> tuple[Logits, DeviceState]:
        """As `Model.step`."""
        with _LOCK:
            _, after = self._advance(tokens, state, None, None)
            return after.logits(), after

    def draw(
        self, tokens: Tokens, state: DeviceState, uniform: Floats, rows: Floats
    ) -> tuple[SampleReport, DeviceState]:
        """Reads int64[batch] and samples what follows. uniform: float64[batch] in [0, 1). rows: as of `weights`.

        Raises DeviceFullError where there is no room, and DeviceLostError.
        """
        params = self._device_params(rows, len(tokens))
        with _LOCK:
            try:
                reports, after = self._advance(tokens, state, uniform, params)
            except (RecordingError, RecordingsFullError) as fault:
                self._open_again(record=isinstance(fault, RecordingsFullError))
                reports, after = self._advance(tokens, state, uniform, params)
        report = reports[0] if len(reports) == 1 else SampleReport(np.concatenate([part.raw for part in reports]))
        return report, after

    def fetch(self, state: DeviceState) -> tuple[NDArray[Any], ...]:
        """The tensors of a state."""
        with _LOCK:
            parts = [buffers.state(at) for buffers, at in self._locate(state)]
        return join(parts)

    def fetch_logits(self, state: DeviceState) -> Logits:
        """The logits that came with a state."""
        with _LOCK:
            return np.concatenate([buffers.logits(at) for buffers, at in self._locate(state)])

    def forget(self) -> None:
        """Frees all buffers; a state that somebody still has is computed again when it is needed."""
        with _LOCK:
            self._drop(*self._buffers)

    def __del__(self) -> None:
        with _LOCK:  # the device's memory is freed here, and not while something is recorded
            self.__dict__.clear()

    def _device_params(self, rows: Floats, batch: int) -> DeviceParams:
        key = rows.tobytes(), batch
        if self._params is None or self._params[:2] != key:
            self._params = *key, DeviceParams.from_rows(np.broadcast_to(rows, (batch, 4)))
        return self._params[2]

    def _advance(
        self, tokens: Tokens, state: DeviceState, uniform: Floats | None, params: DeviceParams | None
    ) -> tuple[list[SampleReport], DeviceState]:
        """Reads a token with every sample; with random numbers and parameters, it samples what follows."""
        sizes = [len(history.anchor) for history, _ in state.parts]
        shares = params.split(sizes) if params else []
        reports, after, first = [], [], 0
        for number, (history, position) in enumerate(state.parts):
            own = slice(first, first := first + sizes[number])
            buffers = self._buffers_of(sizes[number], number)
            at = self._compute(buffers, history, position)
            base, offset = self._shorten(buffers, at, history, position)
            if uniform is None:
                buffers.step(at, buffers.control.read(tokens[own]), record=False)
            else:
                control = buffers.control.sample(tokens[own], uniform[own], shares[number])
                buffers.step(at, control, record=True)
                reports.append(buffers.report(1 - at, shares[number]))
            buffers.owners[1 - at] = here = (base.extend(offset, tokens[own]), offset + 1)
            after.append(here)
        return reports, DeviceState(self, after)

    def _shorten(self, buffers: CudaBuffers, at: int, history: StateHistory, position: int) -> tuple[StateHistory, int]:
        """The same place in a history that does not become too long to be computed again."""
        if position < max(_LEAST_INTERVAL, history.anchor.nbytes // (buffers.batch * _BYTES_PER_TOKEN)):
            return history, position
        new = StateHistory(self.host(buffers.state(at), buffers.batch), [])
        buffers.owners[at] = (new, 0)
        return new, 0

    def _locate(self, state: DeviceState) -> list[tuple[CudaBuffers, int]]:
        """Where the parts of a state lie. One that was overwritten is computed aside, out of the way of a run."""
        places = []
        for number, (history, position) in enumerate(state.parts):
            buffers = self._buffers.get((len(history.anchor), number))
            at = buffers.find(history, position) if buffers else None
            if buffers is None or at is None:
                buffers = self._buffers_of(len(history.anchor), ~number)
                at = self._compute(buffers, history, position)
            places.append((buffers, at))
        return places

    def _compute(self, buffers: CudaBuffers, history: StateHistory, position: int) -> int:
        """In which buffer a state lies, computed from the nearest one that is at hand if it has to be."""
        at = buffers.find(history, position)
        if at is not None:
            return at
        start, at = buffers.nearest(history, position)
        if at is None:
            at = 0
            buffers.owners[at] = None
            buffers.load(at, history.anchor)
            buffers.owners[at] = (history, 0)
        for offset in range(start, position):
            buffers.step(at, buffers.control.read(history.tokens[offset]), record=False)
            at = 1 - at
            buffers.owners[at] = (history, offset + 1)
        return at

    def _buffers_of(self, batch: int, number: int) -> CudaBuffers:
        buffers = self._buffers.get((batch, number))
        if buffers is None:
            assert self._graphs
            others = [other for other in self._buffers if other[0] != batch]
            if len({other[0] for other in others}) >= _BATCHES:
                self._drop(*(other for other in others if other[0] == others[0][0]))
            buffers = self._buffers[batch, number] = CudaBuffers(
                self._graphs, self._ports, self._vocab_size, batch, self._numbers
            )
        self._buffers.move_to_end((batch, number))
        return buffers

    def _open_again(self, *, record: bool) -> None:
        """What was recorded goes with the session; states are computed again."""
        self.forget()
        self._graphs = None
        self._graphs, self._numbers = self._opener(record=record), count(1)

    def _drop(self, *keys: tuple[int, int]) -> None:
        for key in keys:
            self._former_traffic += self._buffers.pop(key).traffic


@dataclass(eq=False)
class StateHistory:
    """A state on the host, and the tokens that were read since."""

    anchor: HostState
    tokens: list[Tokens]

    def extend(self, position: int, tokens: Tokens) -> StateHistory:
        """The history with a token more; a new one where another token follows already."""
        history = self if position == len(self.tokens) else StateHistory(self.anchor, self.tokens[:position])
        history.tokens.append(tokens.copy())
        return history


class StateStore(Protocol):
    """What keeps states on a device, as `CudaModel` does."""

    def fetch(self, state: DeviceState) -> tuple[NDArray[Any], ...]:
        """The tensors of a state."""
        ...

    def fetch_logits(self, state: DeviceState) -> Logits:
        """The logits that came with a state."""
        ...

    def host(self, arrays: Sequence[NDArray[Any]], batch: int, /) -> HostState:
        """A state on the host."""
        ...


class DeviceState:
    """A state on a device, as `tui_gen.runtime.state.HostState` is one on the host.

    Each part is some samples' place: a history, and how many of its tokens were read. There are several where the
    device has no room for the batch as a whole.
    """

    __slots__ = ("parts", "store")

    def __init__(self, store: StateStore, parts: Sequence[tuple[StateHistory, int]]) -> None:
        self.store, self.parts = store, parts

    def __len__(self) -> int:
        """Samples."""
        return sum(len(history.anchor) for history, _ in self.parts)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(history.anchor.nbytes for history, _ in self.parts)

    def rows(self, samples: Sequence[int] | NDArray[Any]) -> HostState:
        """As `HostState.rows`, on the host."""
        return self.compact().rows(samples)

    def compact(self) -> HostState:
        """The same on the host, to be kept for long."""
        return self.store.host(self.arrays(), len(self))

    def is_finite(self) -> bool:
        """As `HostState.is_finite`."""
        return self.compact().is_finite()

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """A copy of the tensors, in the order of the graph's inputs. Raises DeviceLostError and DeviceFullError."""
        if any(position for _, position in self.parts):
            return self.store.fetch(self)
        return join([history.anchor.arrays() for history, _ in self.parts])

    def logits(self) -> Logits:
        """[batch, vocab]: those after the last token. Raises as `arrays` does."""
        return self.store.fetch_logits(self)


def join(parts: Sequence[Sequence[NDArray[Any]]]) -> tuple[NDArray[Any], ...]:
    """The tensors of a batch from those of its parts, one after another."""
    return tuple(np.concatenate(rows) for rows in zip(*parts, strict=True))


def device_opener(graph: bytes, vocab_size: int, place: Place) -> GraphOpener:
    """What opens a step function on a device: recurrent operators written out and sampling appended if it can be.

    The opener raises TuiGenError that says what is missing.
    """

    def opener(*, record: bool) -> DeviceGraphs:
        plain = unroll_cells(graph)
        if not can_report(vocab_size):
            raise TuiGenError(f"a GPU does not draw from a vocabulary of {vocab_size}")
        sampling = with_sampler(plain or graph, vocab_size)

        @cache
        def sampler_graph(*, sort: bool) -> DeviceGraph:
            return _open(sampler(vocab_size, most=None if sort else QUICK_TOP_K), place, record=record)

        step = _open(sampling or plain or graph, place, record=record and plain is not None)
        return DeviceGraphs(step, sampling is not None, lambda sort: sampler_graph(sort=sort), place)

    return opener


def _open(graph: bytes, place: Place, *, record: bool) -> DeviceGraph:
    if place.kind == "cpu":
        return DeviceGraph(OnnxSession(graph, 1), recordable=False)
    if record:
        return DeviceGraph(*open_recordable(graph, place.number))
    return DeviceGraph(open_cuda(graph, place.number), recordable=False)
