"""The memory of a device for samples that run together, and what computes in it."""

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
from tui_gen.runtime.session import DeviceArray, Place, Session
from tui_gen.runtime.state import HostState
from tui_gen.sampling.device_protocol import DeviceParams, SampleReport, StepInput, report_shape
from tui_gen.sampling.params import Logits

_RECORDINGS = 64
"""Runs that are recorded with one session, over all lanes; a recording stays until the session ends."""
_Key = tuple[str, int, int | None]
"""Which graph, from which buffer, and the thread that recorded it, if one did: each has recordings of its own."""


class Recordable(NamedTuple):
    """A graph on a device, and whether its runs can be recorded."""

    session: Session
    recorded: bool


class Opened(NamedTuple):
    """The graphs of a model on a device."""

    step: Recordable
    """From a token, or from `control` where the graph draws as well, and the state to logits, the next state and, where
    it draws, `report`.
    """
    draws: bool
    sampler: Callable[[bool], Recordable]
    """From logits and control to report, with all knobs; whether it must sort all tokens."""
    place: Place


class RecordingError(TuiGenError):
    """The work of a device could not be recorded."""


class RecordingsFullError(TuiGenError):
    """There are as many recordings as there may be."""


class CudaBuffers:
    """Buffers for one batch: two for states with logits, and small ones for what goes to the device and comes back."""

    def __init__(
        self, opened: Opened, ports: Sequence[Port], vocab_size: int, batch: int, numbers: Iterator[int]
    ) -> None:
        """numbers: for recordings. Raises DeviceFullError if there is no room."""
        self._opened, self._ports, self.batch, self._numbers = opened, ports, batch, numbers
        self.owners: list[Any] = [None, None]
        """Which state lies in each buffer."""
        self.moved = 0
        """Bytes that went to the device or came back."""
        make = self._make
        self.control = StepInput(batch)
        self._control = make(self.control.sent.shape, "float64")
        self._token = None if opened.draws else make((batch,), "int64")
        self._report = make(report_shape(batch, vocab_size), "float32")
        self._logits = [make((batch, vocab_size), "float32") for _ in range(2)]
        self._parts = [[make(_shape(port, batch), STATE_TYPES[port.type]) for port in ports] for _ in range(2)]
        self._runs: dict[_Key, Callable[[], None]] = {}

    @property
    def nbytes(self) -> int:
        """Of all buffers."""
        small = [self._control, self._report, *([self._token] if self._token else [])]
        return sum(array.nbytes for array in [*small, *self._logits, *self._parts[0], *self._parts[1]])

    def find(self, trail: Any, position: int) -> int | None:
        """The buffer that a state lies in, if one does."""
        return next((at for at in range(2) if self._is(at, trail, position)), None)

    def nearest(self, trail: Any, position: int) -> tuple[int, int | None]:
        """The last state before a position that lies in a buffer: how many tokens after the anchor, and in which."""
        held = [(owner[1], at) for at, owner in enumerate(self.owners) if owner and owner[0] is trail]
        return max((found for found in held if found[0] <= position), default=(0, None))

    def load(self, at: int, state: HostState) -> None:
        """Copies a state to the device."""
        for array, part in zip(self._parts[at], state.arrays(), strict=True):
            self._write(array, part)

    def step(self, at: int, sent: NDArray[np.float64], *, recorded: bool) -> None:
        """From the state in one buffer to the one in the other.

        Raises RecordingError where it was to be recorded and cannot be, RecordingsFullError where it may not be.
        """
        self.owners[1 - at] = None
        self._write(self._control, sent)
        if self._token is not None:
            self._write(self._token, sent[:, 0].astype(np.int64))
        thread = get_ident() if recorded and self._opened.step.recorded else None
        self._run(("step", at, thread), self._bound_step)

    def report(self, at: int, aim: DeviceParams) -> SampleReport:
        """What was drawn from the logits in a buffer, which the last step wrote."""
        if aim.filtered or not self._opened.draws:
            thread = get_ident() if self._opened.sampler(aim.sorts).recorded else None
            self._run((f"sampler {aim.sorts}", at, thread), partial(self._bound_sampler, aim.sorts))
        return SampleReport(self._read(self._report))

    def _run(self, key: _Key, bound: Callable[[int, int | None], Callable[[], None]]) -> None:
        """The first time, a run is recorded, if it is to be; later ones replay it."""
        known = self._runs.get(key)
        if known is not None:
            known()
            return
        recording = None if key[2] is None else next(self._numbers)
        if recording and recording > _RECORDINGS:
            raise RecordingsFullError
        run = bound(key[1], recording)
        try:
            run()
        except TuiGenError as fault:
            if recording is None:
                raise
            raise RecordingError(str(fault)) from fault
        self._runs[key] = run

    def state(self, at: int) -> list[NDArray[Any]]:
        """A copy of the tensors in a buffer."""
        return [self._read(array) for array in self._parts[at]]

    def logits(self, at: int) -> Logits:
        """A copy of the logits in a buffer."""
        return self._read(self._logits[at])

    def _bound_step(self, at: int, recording: int | None) -> Callable[[], None]:
        first = {CONTROL: self._control} if self._token is None else {"token": self._token}
        states = {port.name: array for port, array in zip(self._ports, self._parts[at], strict=True)}
        names = [f"next.{name.removeprefix('state.')}" for name in states]
        after = dict(zip(names, self._parts[1 - at], strict=True))
        said = {LOGITS: self._logits[1 - at]} | ({REPORT: self._report} if self._opened.draws else {})
        return self._opened.step.session.bound_on(first | states, said | after, recording)

    def _bound_sampler(self, sorts: bool, at: int, recording: int | None) -> Callable[[], None]:
        given = {LOGITS: self._logits[at], CONTROL: self._control}
        return self._opened.sampler(sorts).session.bound_on(given, {REPORT: self._report}, recording)

    def _is(self, at: int, trail: Any, position: int) -> bool:
        owner = self.owners[at]
        return owner is not None and owner[0] is trail and owner[1] == position

    def _make(self, shape: Sequence[int], kind: str) -> DeviceArray:
        return DeviceArray(shape, kind, self._opened.place)

    def _write(self, array: DeviceArray, values: NDArray[Any]) -> None:
        array.write(values)
        self.moved += array.nbytes

    def _read(self, array: DeviceArray) -> NDArray[Any]:
        self.moved += array.nbytes
        return array.read()


def _shape(port: Port, batch: int) -> tuple[int, ...]:
    return batch, *(size for size in port.shape[1:] if isinstance(size, int))
