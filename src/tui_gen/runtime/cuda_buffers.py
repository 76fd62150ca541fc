"""The memory of a device for samples that run together, and the runs of its graphs from and into that memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from threading import get_ident
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_gen.errors import TuiGenError
from tui_gen.runtime.contract import STATE_TYPES, Port
from tui_gen.runtime.sampling_graph import CONTROL, LOGITS, REPORT
from tui_gen.runtime.session import DeviceArray, OnnxSession, Place
from tui_gen.runtime.state import HostState
from tui_gen.sampling.device_protocol import DeviceParams, SampleReport, StepInput, report_shape
from tui_gen.sampling.params import Logits

_RECORDINGS = 64
"""Runs that are recorded with one session, over all batch sizes; a recording stays until the session ends."""
_RunKey = tuple[str, int, int | None]
"""Which graph, from which buffer, and the thread that recorded it, if one did: each has recordings of its own."""


class DeviceGraph(NamedTuple):
    """A graph on a device, and whether its runs can be recorded."""

    session: OnnxSession
    recordable: bool


class DeviceGraphs(NamedTuple):
    """The graphs of a model on a device."""

    step: DeviceGraph
    """From a token, or from `control` where the graph samples as well, and the state to logits, the next state and,
    where it samples, `report`.
    """
    step_samples: bool
    sampler: Callable[[bool], DeviceGraph]
    """From logits and control to report, with all knobs; whether it must sort all tokens."""
    place: Place


class RecordingError(TuiGenError):
    """The work of a device could not be recorded."""


class RecordingsFullError(TuiGenError):
    """There are as many recordings as there may be."""


class CudaBuffers:
    """Buffers for one batch: two for states with logits, and small ones for what goes to the device and comes back."""

    def __init__(
        self, graphs: DeviceGraphs, ports: Sequence[Port], vocab_size: int, batch: int, numbers: Iterator[int]
    ) -> None:
        """ports: of the state. numbers: for recordings. Raises DeviceFullError if there is no room."""
        self._graphs, self._ports, self.batch, self._numbers = graphs, ports, batch, numbers
        self.owners: list[Any] = [None, None]
        """Which state lies in each buffer: its history, and how many tokens of that were read."""
        self.traffic = 0
        """Bytes that went to the device or came back."""
        make = self._make
        self.control = StepInput(batch)
        self._control = make(self.control.matrix.shape, "float64")
        self._token = None if graphs.step_samples else make((batch,), "int64")
        self._report = make(report_shape(batch, vocab_size), "float32")
        self._logits = [make((batch, vocab_size), "float32") for _ in range(2)]
        self._states = [[make(_shape(port, batch), STATE_TYPES[port.type]) for port in ports] for _ in range(2)]
        self._runs: dict[_RunKey, Callable[[], None]] = {}

    @property
    def nbytes(self) -> int:
        """Of all buffers."""
        small = [self._control, self._report, *([self._token] if self._token else [])]
        return sum(array.nbytes for array in [*small, *self._logits, *self._states[0], *self._states[1]])

    def find(self, history: Any, position: int) -> int | None:
        """The buffer that a state lies in, if one does."""
        return next((at for at, owner in enumerate(self.owners) if _is(owner, history, position)), None)

    def nearest(self, history: Any, position: int) -> tuple[int, int | None]:
        """The latest state at or before a position that is in a buffer: tokens since the anchor, and the buffer."""
        states = [(owner[1], at) for at, owner in enumerate(self.owners) if owner and owner[0] is history]
        return max((state for state in states if state[0] <= position), default=(0, None))

    def load(self, at: int, state: HostState) -> None:
        """Copies a state to the device."""
        for array, part in zip(self._states[at], state.arrays(), strict=True):
            self._write(array, part)

    def step(self, at: int, control: NDArray[np.float64], *, record: bool) -> None:
        """Runs the step graph once: reads the state in buffer `at`, writes logits and next state to the other buffer.

        Raises RecordingError where it was to be recorded and cannot be, RecordingsFullError where it may not be.
        """
        self.owners[1 - at] = None
        self._write(self._control, control)
        if self._token is not None:
            self._write(self._token, control[:, 0].astype(np.int64))
        thread = get_ident() if record and self._graphs.step.recordable else None
        self._run(("step", at, thread), self._bind_step)

    def report(self, at: int, params: DeviceParams) -> SampleReport:
        """What was sampled from the logits in a buffer, which the last step wrote."""
        if params.has_filters or not self._graphs.step_samples:
            sort = params.needs_sort
            thread = get_ident() if self._graphs.sampler(sort).recordable else None
            self._run((f"sampler {sort}", at, thread), partial(self._bind_sampler, sort))
        return SampleReport(self._read(self._report))

    def state(self, at: int) -> list[NDArray[Any]]:
        """A copy of the tensors in a buffer."""
        return [self._read(array) for array in self._states[at]]

    def logits(self, at: int) -> Logits:
        """A copy of the logits in a buffer."""
        return self._read(self._logits[at])

    def _run(self, key: _RunKey, bind: Callable[[int, int | None], Callable[[], None]]) -> None:
        """The first time, a run is recorded, if it is to be; later ones replay it."""
        if key in self._runs:
            self._runs[key]()
            return
        recording = None if key[2] is None else next(self._numbers)
        if recording and recording > _RECORDINGS:
            raise RecordingsFullError
        run = bind(key[1], recording)
        try:
            run()
        except TuiGenError as fault:
            if recording is None:
                raise
            raise RecordingError(str(fault)) from fault
        self._runs[key] = run

    def _bind_step(self, at: int, recording: int | None) -> Callable[[], None]:
        first = {CONTROL: self._control} if self._token is None else {"token": self._token}
        states = {port.name: array for port, array in zip(self._ports, self._states[at], strict=True)}
        names = [f"next.{name.removeprefix('state.')}" for name in states]
        after = dict(zip(names, self._states[1 - at], strict=True))
        results = {LOGITS: self._logits[1 - at]} | ({REPORT: self._report} if self._graphs.step_samples else {})
        return self._graphs.step.session.bind_on_device(first | states, results | after, recording)

    def _bind_sampler(self, sort: bool, at: int, recording: int | None) -> Callable[[], None]:
        inputs = {LOGITS: self._logits[at], CONTROL: self._control}
        return self._graphs.sampler(sort).session.bind_on_device(inputs, {REPORT: self._report}, recording)

    def _make(self, shape: Sequence[int], kind: str) -> DeviceArray:
        return DeviceArray(shape, kind, self._graphs.place)

    def _write(self, array: DeviceArray, values: NDArray[Any]) -> None:
        array.write(values)
        self.traffic += array.nbytes

    def _read(self, array: DeviceArray) -> NDArray[Any]:
        self.traffic += array.nbytes
        return array.read()


def _is(owner: Any, history: Any, position: int) -> bool:
    return owner is not None and owner[0] is history and owner[1] == position


def _shape(port: Port, batch: int) -> tuple[int, ...]:
    return batch, *(size for size in port.shape[1:] if isinstance(size, int))
