"""A step of a batch on the CPU: of all rows at once, or cut in parts, each computed in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import count as count_up
from itertools import pairwise
from math import inf
from queue import SimpleQueue
from typing import Any

from numpy.typing import NDArray

from tui_gen.runtime.placement import cores, fastest, thread_counts
from tui_gen.runtime.session import OnnxSession

Arrays = Sequence[NDArray[Any]]
Run = Callable[[], None]
Ends = SimpleQueue["BaseException | None"]
"""What each run that has ended raised, if anything."""
_LEAST_ROWS, _ALIGNED_ROWS = 8, 4
"""Of a part, about; and what the first row of each is a multiple of: a single row, and the rest of a vector, are
computed by other kernels, which may round otherwise.
"""
_ACROSS_ROWS = b"DynamicQuantize"
"""Of operators that scale all rows by the largest number in any of them: a part of a batch gives other numbers."""
_ROUNDS, _PERIOD = 5, 1000
"""Turns of each way that are timed, and after how many steps they are timed again: by then the machine may be busy."""


class BatchSession:
    """Computes steps; those of a batch with the number of threads that was fastest in its first steps.

    graph: of the step function. threads: of one run of it. processors: that the parts of a batch may take together.
    Raises TuiGenError for a graph that cannot be opened.
    """

    def __init__(self, graph: bytes, threads: int, processors: int) -> None:
        self._graph = graph
        self._whole = OnnxSession(graph, threads)
        self.inputs, self.outputs = self._whole.inputs, self._whole.outputs
        self._part: OnnxSession | None = self._whole if threads == 1 else None
        self.mixes_rows = _ACROSS_ROWS in graph
        """Whether a row depends on the others, so that no batch may be cut or go on with fewer."""
        self._counts = thread_counts(1 if self.mixes_rows else processors)
        self._trials: dict[int, Trial] = {}

    def bind(self, inputs: Arrays, outputs: Arrays) -> Run:
        """As `OnnxSession.bind`; the first dimension of all arrays is the batch."""
        batch = len(inputs[0])
        counts = [count for count in self._counts if count * _LEAST_ROWS <= batch]
        if len(counts) < 2:
            return self._whole.bind(inputs, outputs)
        trial = self._trials.setdefault(batch.bit_length(), Trial(counts))
        in_parts = cache(partial(self._in_parts, inputs, outputs))  # most runs only ever need one number of them
        return lambda: trial.run(in_parts)

    def _in_parts(self, inputs: Arrays, outputs: Arrays, count: int) -> Run:
        if count == 1:
            return self._whole.bind(inputs, outputs)
        self._part = session = self._part or OnnxSession(self._graph, 1)
        parts = [
            [[array[rows] for array in arrays] for arrays in (inputs, outputs)] for rows in cut(len(inputs[0]), count)
        ]
        runs = [session.bind(*part) for part in parts]
        return lambda: _run_at_once(runs)


def cut(batch: int, count: int) -> list[slice]:
    """The rows of so many parts, which differ by few."""
    borders = [_ALIGNED_ROWS * round(batch * at / count / _ALIGNED_ROWS) for at in range(count)]
    return [slice(first, past) for first, past in pairwise([*borders, batch])]


class Trial:
    """Ways to do the same work, by how many threads they take; now and then some turns of each tell the fastest."""

    def __init__(self, counts: Sequence[int]) -> None:
        self._counts, self._choice = counts, counts[0]
        # Twice in a row, of which the second is timed: threads of another way may wait for more work for a while.
        self._turns = [(count, timed) for count in counts for timed in (False, True)] * _ROUNDS
        self._numbers = count_up()
        self._seconds: dict[int, list[float]] = {}

    def run(self, way: Callable[[int], Run]) -> None:
        """Does the work once. way: to do it, by the number of threads."""
        number = next(self._numbers) % _PERIOD
        if number >= len(self._turns):
            way(self._choice)()
            return
        count, timed = self._turns[number]
        run = way(count)
        began = time.perf_counter()
        run()
        if timed:
            self._seconds.setdefault(count, []).append(time.perf_counter() - began)
        if number == len(self._turns) - 1:
            self._choose()

    def _choose(self) -> None:
        times, self._seconds = [self._seconds.get(count, [inf]) for count in self._counts], {}  # a step may fail
        self._choice = fastest(self._counts, times)


@cache
def _work() -> SimpleQueue[tuple[Run, Ends]]:
    """Where threads of all models wait for runs; onnxruntime lets go of the interpreter while it computes."""
    work = SimpleQueue[tuple[Run, Ends]]()
    for _ in range(cores()):
        threading.Thread(target=_work_off, args=(work,), name="parts", daemon=True).start()
    return work


def _work_off(work: SimpleQueue[tuple[Run, Ends]]) -> None:
    while True:
        run, ends = work.get()
        try:
            run()
        except BaseException as fault:
            ends.put(fault)
        else:
            ends.put(None)
        del run, ends  # and with them the memory that a run keeps


def _run_at_once(runs: Sequence[Run]) -> None:
    """Returns when all have ended. Raises what one of them raised."""
    first, *others = runs
    ends: Ends = SimpleQueue()
    for run in others:
        _work().put((run, ends))
    try:
        first()
    finally:
        faults = [ends.get() for _ in others]
    for fault in filter(None, faults):
        raise fault
