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
from itertools import count
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tui_gen.contract import Port
from tui_gen.lane import Lane, Opened, RecordingError
from tui_gen.sampling import Floats, Logits, Tokens
from tui_gen.sampling_graph import Report, control, plain_control
from tui_gen.state import State

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

Host = Callable[[Sequence[NDArray[Any]], int], State]
"""Makes a state on the host."""


class Opener(Protocol):
    """Opens the graphs of a model on a device."""

    def __call__(self, *, recorded: bool) -> Opened: ...


class Drawn(NamedTuple):
    """What a step with sampling gives."""

    report: Report
    state: DeviceState


@dataclass
class Trail:
    """From a state on the host, the tokens that were read since."""

    anchor: State
    tokens: list[Tokens]


class DeviceState:
    """A state on a device, as `tui_gen.state.State` is one on the host: as many tokens after an anchor as `position`.

    One of several parts is one of a batch that the device has no room for as a whole.
    """

    def __init__(self, engine: OnDevice, parts: Sequence[tuple[Trail, int]]) -> None:
        self.engine, self.parts = engine, tuple(parts)

    def __len__(self) -> int:
        """Samples."""
        return sum(len(trail.anchor) for trail, _ in self.parts)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(trail.anchor.nbytes for trail, _ in self.parts)

    def rows(self, samples: Sequence[int] | NDArray[Any]) -> State:
        """As `State.rows`, on the host."""
        return self.compact().rows(samples)

    def compact(self) -> State:
        """The same on the host, to be kept for long."""
        return self.engine.host(self.arrays(), len(self))

    def is_finite(self) -> bool:
        """As `State.is_finite`."""
        return self.compact().is_finite()

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """A copy of the tensors, in the order of the graph's inputs. Raises DeviceLostError."""
        return self.engine.fetch(self)

    def logits(self) -> Logits:
        """[batch, vocab]: what the model said when it had read the last token. Raises DeviceLostError."""
        return self.engine.fetch_logits(self)


class OnDevice:
    """Steps on one device. Any thread may use it; they take turns."""

    def __init__(self, opener: Opener, ports: Sequence[Port], vocab_size: int, host: Host) -> None:
        """opener: opens the graphs, with runs that can be recorded or without. ports: the inputs that are parts of the
        state. host: makes a state on the host. Raises TuiGenError that says what is missing.
        """
        self._opener, self._ports, self._vocab_size, self.host = opener, ports, vocab_size, host
        with _TURN:
            self._opened = opener(recorded=True)
        self._lanes: OrderedDict[tuple[int, int], Lane] = OrderedDict()
        self._numbers = count(1)
        self._moved = 0

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
        return self._opened.step.session.providers

    def bring(self, state: State | DeviceState) -> DeviceState:
        """A state for this device. It is only copied there when a step needs it."""
        if isinstance(state, DeviceState):
            return state if state.engine is self else self.bring(state.compact())
        return DeviceState(self, [(Trail(state, []), 0)])

    def step(self, tokens: Tokens, state: DeviceState) -> tuple[Logits, DeviceState]:
        """As `Model.step`."""
        with _TURN:
            after = self._advance(plain_control(tokens), state, recorded=False)[1]
            return after.logits(), after

    def draw(self, tokens: Tokens, state: DeviceState, uniform: Floats, knobs: Floats) -> Drawn:
        """Reads int64[batch] and draws what follows. uniform: float64[batch], knobs: float64[batch, 4].

        Raises DeviceFullError where there is no room, and DeviceLostError.
        """
        sent = control(tokens, uniform, knobs)
        with _TURN:
            try:
                lanes, after = self._advance(sent, state, recorded=True)
                rows = np.split(knobs, np.cumsum([lane.batch for lane, _ in lanes])[:-1])
                reports = [lane.report(at, part) for (lane, at), part in zip(lanes, rows, strict=True)]
            except RecordingError:
                self._forget()  # states are walked to again
                self._opened = self._opener(recorded=False)
                return self.draw(tokens, state, uniform, knobs)
        return Drawn(_joined(reports), after)

    def fetch(self, state: DeviceState) -> tuple[NDArray[Any], ...]:
        """The tensors of a state."""
        if not any(position for _, position in state.parts):  # nothing was read since they were on the host
            whole = zip(*(trail.anchor.arrays() for trail, _ in state.parts), strict=True)
            return tuple(np.concatenate(rows) for rows in whole)
        with _TURN:
            parts = [lane.state(at) for lane, at in self._found(state)]
        return tuple(np.concatenate(rows) for rows in zip(*parts, strict=True))

    def fetch_logits(self, state: DeviceState) -> Logits:
        """What came with a state."""
        with _TURN:
            return np.concatenate([lane.logits(at) for lane, at in self._found(state)])

    def divide(self, whole: State, parts: int) -> DeviceState | None:
        """A state for this device in so many parts, one after another in a step; None if they would be too small."""
        if parts > min(len(whole), _MOST_PARTS):
            return None
        with _TURN:
            self._forget()
        shares = np.array_split(np.arange(len(whole)), parts)
        return DeviceState(self, [(Trail(whole.rows(share), []), 0) for share in shares])

    def _advance(
        self, sent: NDArray[np.float64], state: DeviceState, *, recorded: bool
    ) -> tuple[list[tuple[Lane, int]], DeviceState]:
        """Where the states after a token lie, and what they are."""
        lanes, after, first = [], [], 0
        for number, (trail, position) in enumerate(state.parts):
            rows = sent[first : first + len(trail.anchor)]
            first += len(rows)
            lane = self._lane(len(rows), number)
            at = self._walk(lane, trail, position)
            base, walked = self._anchored(lane, at, trail, position)
            lane.step(at, rows, recorded=recorded)
            here = (_going_on(base, walked, rows[:, 0].astype(np.int64)), walked + 1)
            lane.owners[1 - at] = here
            after.append(here)
            lanes.append((lane, 1 - at))
        return lanes, DeviceState(self, after)

    def _anchored(self, lane: Lane, at: int, trail: Trail, position: int) -> tuple[Trail, int]:
        """The same place on a trail that does not become too long to be walked again."""
        each = trail.anchor.nbytes // len(trail.anchor)
        if position < max(_LEAST_EVERY, each // _EVERY_BYTES):
            return trail, position
        new = Trail(self.host(lane.state(at), len(trail.anchor)), [])
        lane.owners[at] = (new, 0)
        return new, 0

    def _found(self, state: DeviceState) -> list[tuple[Lane, int]]:
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

    def _walk(self, lane: Lane, trail: Trail, position: int) -> int:
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
            lane.step(at, plain_control(trail.tokens[walked]), recorded=False)
            at = 1 - at
            lane.owners[at] = (trail, walked + 1)
        return at

    def _lane(self, batch: int, number: int) -> Lane:
        key = (batch, number)
        if key not in self._lanes:
            others = [other for other in self._lanes if other[0] != batch]
            if len({other[0] for other in others}) >= _BATCHES:
                self._drop(*(other for other in others if other[0] == others[0][0]))
            self._lanes[key] = Lane(self._opened, self._ports, self._vocab_size, batch, self._numbers)
        self._lanes.move_to_end(key)
        return self._lanes[key]

    def _forget(self) -> None:
        self._drop(*self._lanes)

    def _drop(self, *keys: tuple[int, int]) -> None:
        for key in keys:
            self._moved += self._lanes.pop(key).moved


def _going_on(trail: Trail, position: int, tokens: Tokens) -> Trail:
    """The trail with a token more; a new one where another token follows already."""
    if position < len(trail.tokens):
        trail = Trail(trail.anchor, trail.tokens[:position])
    trail.tokens.append(tokens)
    return trail


def _joined(reports: Sequence[Report]) -> Report:
    if len(reports) == 1:
        return reports[0]
    tokens, finite, top, weights, total = zip(*reports, strict=True)
    return Report(np.concatenate(tokens), all(finite), *(np.concatenate(part) for part in (top, weights, total)))
