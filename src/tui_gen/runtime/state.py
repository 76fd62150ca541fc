"""The state of a run on the host, in buffers from a pool, to which they return once nobody holds the state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from tui_gen.errors import TuiGenError
from tui_gen.runtime.contract import STATE_TYPES, Port

_FREE = 4
"""Buffers that wait for their next use; a run needs two or three in turn."""


class Buffers:
    """Memory for what a step reads and gives: tokens int64[batch], logits [batch, vocab], and the parts of a state."""

    __slots__ = ("__weakref__", "_logits", "_vocab_size", "parts", "runs", "tokens")

    def __init__(self, parts: tuple[NDArray[Any], ...], batch: int, vocab_size: int) -> None:
        self.parts = parts
        self.tokens = np.zeros(batch, dtype=np.int64)
        self._vocab_size = vocab_size
        self._logits: NDArray[np.float32] | None = None
        self.runs: WeakKeyDictionary[Buffers, Callable[[], None]] = WeakKeyDictionary()
        """Callables for a step of these tokens from the state in other buffers to the one in these."""

    @property
    def logits(self) -> NDArray[np.float32]:
        """[batch, vocab]: only there once a step is to be computed into it."""
        if self._logits is None:
            self._logits = np.zeros((len(self.tokens), self._vocab_size), dtype=np.float32)
        return self._logits


class HostState:
    """Tensors after some tokens; row i of each belongs to sample i. Opaque: feed it to the model that made it."""

    __slots__ = ("_pool", "buffers")

    def __init__(self, buffers: Buffers, pool: Pool) -> None:
        self.buffers, self._pool = buffers, pool

    def __del__(self) -> None:
        self._pool.give(self.buffers)

    def __len__(self) -> int:
        """Samples."""
        return len(self.buffers.tokens)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(part.nbytes for part in self.buffers.parts)

    def rows(self, samples: Sequence[int] | NDArray[Any]) -> HostState:
        """The state of these samples, in this order; one may come several times, to go on in several ways."""
        indices = np.asarray(samples, dtype=np.intp)
        return self._pool.state([part[indices] for part in self.buffers.parts], len(indices))

    def compact(self) -> HostState:
        """The same in as little memory as it takes, to be kept for long."""
        return self._pool.state([part.copy() for part in self.buffers.parts], len(self))

    def is_finite(self) -> bool:
        """Whether no number is NaN or infinite."""
        return all(np.isfinite(part).all() for part in self.buffers.parts if part.dtype.kind == "f")

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """A copy of the tensors, in the order of the graph's inputs."""
        return tuple(part.copy() for part in self.buffers.parts)


class Pool:
    """Makes states of a model, in memory of states that are gone where there is some. Any thread may use it."""

    def __init__(self, ports: Sequence[Port], vocab_size: int) -> None:
        """ports: the inputs that are parts of the state."""
        self._kinds = [
            (STATE_TYPES[port.type], [size for size in port.shape[1:] if isinstance(size, int)]) for port in ports
        ]
        self._vocab_size = vocab_size
        self._free: list[Buffers] = []

    def give(self, buffers: Buffers) -> None:
        """Takes back what a state had."""
        if len(self._free) < _FREE:
            self._free.append(buffers)

    def unset(self, batch: int) -> HostState:
        """A state to be computed; what stands in it means nothing. Raises TuiGenError if there is no memory for it."""
        return HostState(self._take(batch), self)

    def zeros(self, batch: int) -> HostState:
        """The state before the first token."""
        state = self.unset(batch)
        for part in state.buffers.parts:
            part.fill(0)
        return state

    def state(self, arrays: Sequence[NDArray[Any]], batch: int) -> HostState:
        """A state of these tensors, which nobody else may use from here on."""
        return HostState(Buffers(tuple(map(np.ascontiguousarray, arrays)), batch, self._vocab_size), self)

    def _take(self, batch: int) -> Buffers:
        """Memory that nobody uses. Raises TuiGenError if there is not enough."""
        while self._free:
            try:
                buffers = self._free.pop()
            except IndexError:  # another thread was faster
                break
            if len(buffers.tokens) == batch:
                return buffers
        try:
            parts = tuple(np.empty((batch, *shape), dtype=kind) for kind, shape in self._kinds)
            return Buffers(parts, batch, self._vocab_size)
        except (MemoryError, ValueError) as fault:
            raise TuiGenError(f"there is not enough memory for {batch} samples; ask for fewer") from fault
