"""A step function whose state stays in the memory of a device: only what is drawn comes back.

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
from tui_gen.runtime.cell_unrolling import unrolled
from tui_gen.runtime.contract import Port
from tui_gen.runtime.cuda_buffers import CudaBuffers, Opened, Recordable, RecordingError, RecordingsFullError
from tui_gen.runtime.sampling_graph import sampler, with_sampler
from tui_gen.runtime.session import Place, Session, open_cuda, open_recorded
from tui_gen.runtime.state import HostState
from tui_gen.sampling.device_protocol import NARROW, DeviceParams, SampleReport, is_possible
from tui_gen.sampling.params import Floats, Logits, Tokens

_EVERY_BYTES, _LEAST_EVERY = 256, 64
"""How many bytes of a sample's state may be fetched for each token, and after how many tokens at the earliest."""
_TURN = threading.RLock()
"""All runs of all models take turns: while a device's work is recorded, nothing else in the process may touch the
device, or CUDA gives the recording up.
"""
_BATCHES = 4
"""Batch sizes whose buffers are kept."""
_MOST_PARTS = 8
"""Parts that a batch may be divided into when the device is full."""
Host = Callable[[Sequence[NDArray[Any]], int], HostState]
"""Makes a state on the host."""


class Opener(Protocol):
    """Opens the graphs of a model on a device."""

    def __call__(self, *, recorded: bool) -> Opened: ...


class CudaModel:
    """Steps on one device. Any thread may use it; they take turns."""

    def __init__(self, opener: Opener, ports: Sequence[Port], vocab_size: int, host: Host) -> None:
        """opener: opens the graphs, with runs that can be recorded or without. ports: the inputs that are parts of the
        state. host: makes a state on the host. Raises TuiGenError that says what is missing.
        """
        self._opener, self._ports, self._vocab_size, self.host = opener, ports, vocab_size, host
        with _TURN:
            self._opened: Opened | None = opener(recorded=True)
        self._lanes: OrderedDict[tuple[int, int], CudaBuffers] = OrderedDict()
        self._numbers = count(1)
        self._moved = 0
        self._params: tuple[bytes, int, DeviceParams] | None = None

    @property
    def moved(self) -> int:
        """Bytes that went to the device or came back, so far."""
        return self._moved + sum(lane.moved for lane in self._lanes.values())

    @property
    def nbytes(self) -> int:
        """Of all buffers on the device; weights and what a step needs besides come on top."""
        return sum(lane.nbytes for lane in self._lanes.values())

    @property
    def providers(self) -> list[str]:
        """Where it really runs."""
        return self._opened.step.session.providers if self._opened else []

    @property
    def recorded(self) -> bool:
        """Whether its work is recorded and replayed."""
        return bool(self._opened and self._opened.step.recorded)

    def bring(self, state: HostState | DeviceState) -> DeviceState:
        """A state for this device. It is only copied there when a step needs it."""
        if isinstance(state, DeviceState):
            return state if state.engine is self else self.bring(state.compact())
        return DeviceState(self, [(StateHistory(state, []), 0)])

    def step(self, tokens: Tokens, state: DeviceState) -> tuple[Logits, DeviceState]:
        """As `Model.step`."""
        with _TURN:
            _, after = self._advance(tokens, state, None, None)
            return after.logits(), after

    def draw(
        self, tokens: Tokens, state: DeviceState, uniform: Floats, rows: Floats
    ) -> tuple[SampleReport, DeviceState]:
        """Reads int64[batch] and draws what follows. uniform: float64[batch] in [0, 1). rows: as of `weights`.

        Raises DeviceFullError where there is no room, and DeviceLostError.
        """
        aim = self._device_params(rows, len(tokens))
        with _TURN:
            try:
                reports, after = self._advance(tokens, state, uniform, aim)
            except (RecordingError, RecordingsFullError) as fault:
                self._open_again(recorded=isinstance(fault, RecordingsFullError))
                reports, after = self._advance(tokens, state, uniform, aim)
        joined = reports[0] if len(reports) == 1 else SampleReport(np.concatenate([report.raw for report in reports]))
        return joined, after

    def fetch(self, state: DeviceState) -> tuple[NDArray[Any], ...]:
        """The tensors of a state."""
        with _TURN:
            parts = [lane.state(at) for lane, at in self._found(state)]
        return joined(parts)

    def fetch_logits(self, state: DeviceState) -> Logits:
        """What came with a state."""
        with _TURN:
            return np.concatenate([lane.logits(at) for lane, at in self._found(state)])

    def divide(self, whole: HostState, parts: int) -> DeviceState | None:
        """A state for this device in so many parts, one after another in a step; None if they would be too small."""
        if parts > min(len(whole), _MOST_PARTS):
            return None
        self.forget()
        shares = np.array_split(np.arange(len(whole)), parts)
        return DeviceState(self, [(StateHistory(whole.rows(share), []), 0) for share in shares])

    def _device_params(self, rows: Floats, batch: int) -> DeviceParams:
        key = rows.tobytes(), batch
        if self._params is None or self._params[:2] != key:
            self._params = *key, DeviceParams.at(np.broadcast_to(rows, (batch, 4)))
        return self._params[2]

    def _advance(
        self, tokens: Tokens, state: DeviceState, uniform: Floats | None, aim: DeviceParams | None
    ) -> tuple[list[SampleReport], DeviceState]:
        """Reads a token with every sample; with random numbers and knobs, it draws what follows."""
        sizes = [len(trail.anchor) for trail, _ in state.parts]
        aims = aim.split(sizes) if aim else []
        reports, after, first = [], [], 0
        for number, (trail, position) in enumerate(state.parts):
            own = slice(first, first := first + sizes[number])
            lane = self._lane(sizes[number], number)
            at = self._walk(lane, trail, position)
            base, walked = self._anchored(lane, at, trail, position)
            if uniform is None:
                lane.step(at, lane.control.read(tokens[own]), recorded=False)
            else:
                lane.step(at, lane.control.draw(tokens[own], uniform[own], aims[number]), recorded=True)
                reports.append(lane.report(1 - at, aims[number]))
            lane.owners[1 - at] = here = (base.going_on(walked, tokens[own]), walked + 1)
            after.append(here)
        return reports, DeviceState(self, after)

    def _anchored(self, lane: CudaBuffers, at: int, trail: StateHistory, position: int) -> tuple[StateHistory, int]:
        """The same place on a trail that does not become too long to be walked again."""
        if position < max(_LEAST_EVERY, trail.anchor.nbytes // (lane.batch * _EVERY_BYTES)):
            return trail, position
        new = StateHistory(self.host(lane.state(at), lane.batch), [])
        lane.owners[at] = (new, 0)
        return new, 0

    def _found(self, state: DeviceState) -> list[tuple[CudaBuffers, int]]:
        """Where the parts of a state lie. One that was overwritten is walked to aside, out of the way of a run."""
        found = []
        for number, (trail, position) in enumerate(state.parts):
            lane = self._lanes.get((len(trail.anchor), number))
            at = lane.find(trail, position) if lane else None
            if lane is None or at is None:
                lane = self._lane(len(trail.anchor), ~number)
                at = self._walk(lane, trail, position)
            found.append((lane, at))
        return found

    def _walk(self, lane: CudaBuffers, trail: StateHistory, position: int) -> int:
        """In which buffer of a lane a state lies, computed from the nearest one that is at hand if it has to be."""
        at = lane.find(trail, position)
        if at is not None:
            return at
        start, at = lane.nearest(trail, position)
        if at is None:
            at = 0
            lane.owners[at] = None
            lane.load(at, trail.anchor)
            lane.owners[at] = (trail, 0)
        for walked in range(start, position):
            lane.step(at, lane.control.read(trail.tokens[walked]), recorded=False)
            at = 1 - at
            lane.owners[at] = (trail, walked + 1)
        return at

    def _lane(self, batch: int, number: int) -> CudaBuffers:
        lane = self._lanes.get((batch, number))
        if lane is None:
            assert self._opened
            others = [other for other in self._lanes if other[0] != batch]
            if len({other[0] for other in others}) >= _BATCHES:
                self._drop(*(other for other in others if other[0] == others[0][0]))
            lane = self._lanes[batch, number] = CudaBuffers(
                self._opened, self._ports, self._vocab_size, batch, self._numbers
            )
        self._lanes.move_to_end((batch, number))
        return lane

    def _open_again(self, *, recorded: bool) -> None:
        """What was recorded goes with the session; states are walked to again."""
        self.forget()
        self._opened = None
        self._opened, self._numbers = self._opener(recorded=recorded), count(1)

    def forget(self) -> None:
        """Frees all buffers; a state that somebody still has is computed again when it is needed."""
        with _TURN:
            self._drop(*self._lanes)

    def __del__(self) -> None:
        with _TURN:  # the device's memory is freed here, and not while something is recorded
            self.__dict__.clear()

    def _drop(self, *keys: tuple[int, int]) -> None:
        for key in keys:
            self._moved += self._lanes.pop(key).moved


@dataclass(eq=False)
class StateHistory:
    """From a state on the host, the tokens that were read since."""

    anchor: HostState
    tokens: list[Tokens]

    def going_on(self, position: int, tokens: Tokens) -> StateHistory:
        """The trail with a token more; a new one where another token follows already."""
        trail = self if position == len(self.tokens) else StateHistory(self.anchor, self.tokens[:position])
        trail.tokens.append(tokens.copy())
        return trail


class StateStore(Protocol):
    """What keeps states on a device; `tui_gen.runtime.cuda_model.CudaModel` is one."""

    def fetch(self, state: DeviceState) -> tuple[NDArray[Any], ...]:
        """The tensors of a state."""
        ...

    def fetch_logits(self, state: DeviceState) -> Logits:
        """What came with a state."""
        ...

    def host(self, arrays: Sequence[NDArray[Any]], batch: int, /) -> HostState:
        """Makes a state on the host."""
        ...


class DeviceState:
    """A state on a device, as `tui_gen.runtime.state.HostState` is one on the host.

    Each part is some samples' place: a trail, and how many of its tokens were read. There are several where the device
    has no room for the batch as a whole.
    """

    __slots__ = ("engine", "parts")

    def __init__(self, engine: StateStore, parts: Sequence[tuple[StateHistory, int]]) -> None:
        self.engine, self.parts = engine, parts

    def __len__(self) -> int:
        """Samples."""
        return sum(len(trail.anchor) for trail, _ in self.parts)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(trail.anchor.nbytes for trail, _ in self.parts)

    def rows(self, samples: Sequence[int] | NDArray[Any]) -> HostState:
        """As `HostState.rows`, on the host."""
        return self.compact().rows(samples)

    def compact(self) -> HostState:
        """The same on the host, to be kept for long."""
        return self.engine.host(self.arrays(), len(self))

    def is_finite(self) -> bool:
        """As `HostState.is_finite`."""
        return self.compact().is_finite()

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """A copy of the tensors, in the order of the graph's inputs. Raises DeviceLostError and DeviceFullError."""
        if any(position for _, position in self.parts):
            return self.engine.fetch(self)
        return joined([trail.anchor.arrays() for trail, _ in self.parts])

    def logits(self) -> Logits:
        """[batch, vocab]: what the model said when it had read the last token. Raises as `arrays` does."""
        return self.engine.fetch_logits(self)


def joined(parts: Sequence[Sequence[NDArray[Any]]]) -> tuple[NDArray[Any], ...]:
    """The tensors of a batch from those of its parts, one after another."""
    return tuple(np.concatenate(rows) for rows in zip(*parts, strict=True))


def device_opener(graph: bytes, vocab_size: int, place: Place) -> Opener:
    """What opens a step function on a device: recurrent operators written out and sampling appended if it can be.

    The opener raises TuiGenError that says what is missing.
    """

    def opener(*, recorded: bool) -> Opened:
        plain = unrolled(graph)
        if not is_possible(vocab_size):
            raise TuiGenError(f"a GPU does not draw from a vocabulary of {vocab_size}")
        drawing = with_sampler(plain or graph, vocab_size)

        @cache
        def sorting(*, sorts: bool) -> Recordable:
            return _open(sampler(vocab_size, most=None if sorts else NARROW), place, recorded=recorded)

        step = _open(drawing or plain or graph, place, recorded=recorded and plain is not None)
        return Opened(step, drawing is not None, lambda sorts: sorting(sorts=sorts), place)

    return opener


def _open(graph: bytes, place: Place, *, recorded: bool) -> Recordable:
    if place.kind == "cpu":
        return Recordable(Session(graph, 1), recorded=False)
    return (
        Recordable(*open_recorded(graph, place.number))
        if recorded
        else Recordable(open_cuda(graph, place.number), recorded=False)
    )
