"""Tries a foreign graph: reads what it consists of, then opens it and runs steps in a child process.

What crashes onnxruntime, hangs or takes too much memory does so there. A graph that onnxruntime merely refuses passes:
whoever opens it in earnest is told why.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tui_gen import __version__
from tui_gen.child import Ending, Report, run_in_child
from tui_gen.errors import DeviceFullError, TuiGenError
from tui_gen.runtime.contract import STATE_TYPES, Port, check_contract
from tui_gen.runtime.inside_graph import inside_graph
from tui_gen.runtime.operators import check_operators
from tui_gen.runtime.placement import CachedMeasurement
from tui_gen.runtime.sequence_graph import TARGETS, sequence_graph
from tui_gen.runtime.session import RUNTIME, OnnxSession

_SECONDS = 8
"""Of a processor, that opening it and its first steps may take."""
_MEMORY, _PER_BYTE = 2**31, 4
"""Address space that the child may take, and how many times the file besides, where somebody vouches for it."""
_AT_LEISURE = 2.0
"""Seconds after which no more is tried of a slow one."""
_FIRST_STEPS = 8
_LATE = (100, 10_000, 1_000_000)
"""What stands in whole numbers of a state, such as the position, when steps are run as after so many tokens."""
_SEQUENCE = 8
"""Tokens that are read at once."""
_PASSED, _VOUCHED = "passed", "vouched for"
"""What is kept of a graph: whether its operators were checked too."""


def check(graph: bytes, sha256: str, *, trust: bool = False) -> None:
    """Raises TuiGenError for a graph that may crash or hang this process, and where it cannot be tried.

    trust: somebody vouches for its operators, so that only the child tries it. One that passed with this onnxruntime is
    not tried again.
    """
    verdict = CachedMeasurement("tried", sha256, RUNTIME, __version__)
    before = verdict.read()
    if before == _PASSED or (trust and before == _VOUCHED):
        return
    if not trust:
        check_operators(graph)
    _try_in_child(graph, _MEMORY + (_PER_BYTE * len(graph) if trust else 0))
    verdict.write(_VOUCHED if trust else _PASSED)


def _try_in_child(graph: bytes, memory: int) -> None:
    try:
        ending = run_in_child(try_graph, graph, seconds=_SECONDS, memory=memory)
    except TuiGenError as fault:
        raise TuiGenError(f"model.onnx cannot be tried in a process of its own: {fault}") from fault
    stage = ending.stage or "opening it"
    if ending.status is None:
        raise TuiGenError(f"model.onnx is refused: {stage} does not end within {_SECONDS} s")
    if ending.crashed:
        raise TuiGenError(f"model.onnx is refused: {stage} crashes onnxruntime (exit status {ending.status})")
    if ending.stage and ending.fault in (DeviceFullError.__name__, MemoryError.__name__):
        raise TuiGenError(f"model.onnx is refused: {stage} takes more than {memory / 2**30:.2g} GB of memory")
    if ending.status:
        raise TuiGenError(f"model.onnx cannot be tried in a process of its own: {_trouble(ending)}")


def _trouble(ending: Ending) -> str:
    """What the child said of a fault that is not the model's, and what to do about it."""
    if ending.fault == "ImportError":
        return f"{ending.message}; install tui-gen again for {sys.executable}"
    if ending.fault == TuiGenError.__name__:
        return ending.message
    if ending.fault == MemoryError.__name__:
        return "there is too little memory; end other programs"
    if not ending.fault:
        return f"it ended with exit status {ending.status} and said nothing"
    return f"{ending.message} ({ending.fault})" if ending.message else ending.fault


def try_graph(graph: bytes, report: Report) -> None:
    """In the child: opens a graph and runs what will be run of it, as far as there is time."""
    began = time.monotonic()
    report("opening it")
    for stage, work in _stages(graph):
        report(stage)
        try:
            work()
        except DeviceFullError:
            raise
        except TuiGenError:
            continue  # it merely does not work
        if time.monotonic() - began > _AT_LEISURE:
            return


def _stages(graph: bytes) -> Iterator[tuple[str, Callable[[], object]]]:
    """What to try, each with its name."""
    try:
        session = OnnxSession(graph, 1)
        vocab = session.outputs[0].shape[1:2] if session.outputs else ()
        check_contract(session.inputs, session.outputs, next((size for size in vocab if isinstance(size, int)), 1))
    except DeviceFullError:
        raise
    except TuiGenError:
        return
    tokens = _Tokens(session)
    for number in range(1, _FIRST_STEPS + 1):
        yield ("its first step" if number == 1 else f"its step {number}"), tokens.step
    pair = _Tokens(session, samples=2)
    for _ in range(2):
        yield "a step of two samples", pair.step
    for count in _LATE:
        yield f"a step after {count:,} tokens", partial(tokens.step_after, count)
    for name, rewritten in _rewritings(graph):
        yield name, partial(_run, rewritten)


def _rewritings(graph: bytes) -> Iterator[tuple[str, bytes]]:
    """Other graphs that are made of it."""
    inside = inside_graph(graph)
    for name, content in (
        ("reading many tokens at once", sequence_graph(graph, scores=False)),
        ("scoring many tokens at once", sequence_graph(graph, scores=True)),
        ("looking inside it", inside.content if inside else None),
    ):
        if content:
            yield name, content


class _Tokens:
    """Steps of some samples, each from the state after the one before."""

    def __init__(self, session: OnnxSession, *, samples: int = 1) -> None:
        self._session, self._samples, self._count = session, samples, 0
        self._state = [_zeros(port, samples) for port in session.inputs[1:]]
        vocab = session.outputs[0].shape[1]
        self._last = vocab - 1 if isinstance(vocab, int) else 0

    def step(self) -> None:
        """The first token, the last one and what lies between them come in turn."""
        self._count += 1
        self._state = self._after(self._state)

    def step_after(self, count: int) -> None:
        """From the state with other whole numbers in it."""
        self._after([part if part.dtype.kind == "f" else np.full_like(part, count) for part in self._state])

    def _after(self, state: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        token = (0, self._last, self._last // 2)[self._count % 3]
        names = [port.name for port in self._session.inputs]
        feeds = dict(zip(names, (np.full(self._samples, token), *state), strict=True))
        return self._session.run(feeds)[1:]


def _run(graph: bytes) -> None:
    """Runs a graph that was rewritten, on tokens [tokens, batch] or [batch]."""
    session, batch = OnnxSession(graph, 1), 2
    first = session.inputs[0]
    shape = (_SEQUENCE, batch) if len(first.shape) == 2 else (batch,)
    feeds = {port.name: _zeros(port, batch) for port in session.inputs if port.name != TARGETS}
    feeds[first.name] = np.zeros(shape, dtype=np.int64)
    if len(feeds) < len(session.inputs):
        feeds[TARGETS] = np.zeros((_SEQUENCE * batch, 1), dtype=np.int64)
    session.run(feeds)


def _zeros(port: Port, batch: int) -> NDArray[Any]:
    return np.zeros((batch, *(size for size in port.shape[1:] if isinstance(size, int))), STATE_TYPES[port.type])
