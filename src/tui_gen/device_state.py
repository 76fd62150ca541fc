"""A state that lies on a device, or can be walked to again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tui_gen.sampling import Logits, Tokens
from tui_gen.state import State


@dataclass(eq=False)
class Trail:
    """From a state on the host, the tokens that were read since."""

    anchor: State
    tokens: list[Tokens]

    def going_on(self, position: int, tokens: Tokens) -> Trail:
        """The trail with a token more; a new one where another token follows already."""
        trail = self if position == len(self.tokens) else Trail(self.anchor, self.tokens[:position])
        trail.tokens.append(tokens.copy())
        return trail


class Keeper(Protocol):
    """What keeps states on a device; `tui_gen.on_device.OnDevice` is one."""

    def fetch(self, state: DeviceState) -> tuple[NDArray[Any], ...]:
        """The tensors of a state."""
        ...

    def fetch_logits(self, state: DeviceState) -> Logits:
        """What came with a state."""
        ...

    def host(self, arrays: Sequence[NDArray[Any]], batch: int, /) -> State:
        """Makes a state on the host."""
        ...


class DeviceState:
    """A state on a device, as `tui_gen.state.State` is one on the host.

    Each part is some samples' place: a trail, and how many of its tokens were read. There are several where the device
    has no room for the batch as a whole.
    """

    __slots__ = ("engine", "parts")

    def __init__(self, engine: Keeper, parts: Sequence[tuple[Trail, int]]) -> None:
        self.engine, self.parts = engine, parts

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
