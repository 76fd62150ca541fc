"""Surgery on the state of a recurrent model: forget, hold a unit, take another state; and a model that obeys it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from tui_gen.errors import TuiGenError
from tui_gen.generation.protocol import DeviceSample, Draw, Read, Score, State, StateModel
from tui_gen.generation.state_parts import Arrays, Site, StateParts, of_layer
from tui_gen.sampling.params import Floats, Logits, Tokens

Donor = TypeVar("Donor")
_FOR_EVER = 2**62


@dataclass(frozen=True)
class Forget:
    """Numbers of the state become zero, which is what they are before the first token."""

    part: str = ""
    """`h`, `c`, or the name of any other part that holds real numbers; empty for all that
    there is of `h` and `c`, or of a state that has neither."""
    layer: int | None = None
    """Counted from 0; None for all."""

    def __str__(self) -> str:
        return f"forget {self.part or 'the state'}{of_layer(self.layer)}"


@dataclass(frozen=True)
class Hold:
    """A unit has a value from here on, before each token that is read."""

    part: str
    """`h` or `c`."""
    layer: int
    """Counted from 0."""
    unit: int
    """Counted from 0."""
    value: float
    """As the state has it: of a layer with a learned initial state, the difference from that."""

    def __str__(self) -> str:
        return f"hold unit {self.unit} of {self.part}{of_layer(self.layer)} at {self.value:g}"


@dataclass(frozen=True)
class Take(Generic[Donor]):
    """The state of another branch, sample by sample, takes the place of this one's."""

    donor: Donor
    """The branch, or in a session its number."""
    position: int
    """Of the token before which the donor had the state."""


Intervention = Forget | Hold | Take[Any]


@dataclass(frozen=True, eq=False)
class Operation:
    """An intervention on the state before a token is read."""

    position: int
    """Of the token."""
    intervention: Intervention
    donation: Arrays = ()
    """Of a `Take`: the donor's state."""


class SurgeryState:
    """A state that knows where it stands; it has been operated on already."""

    __slots__ = ("plain", "position", "samples")

    def __init__(self, plain: State, position: int, samples: Tokens) -> None:
        """plain: as the model itself has it. position: of the token that is read next. samples: [rows], which of the
        branch's samples each row is.
        """
        self.plain, self.position, self.samples = plain, position, samples

    def __len__(self) -> int:
        """Rows."""
        return len(self.plain)

    @property
    def nbytes(self) -> int:
        """As of `State`."""
        return self.plain.nbytes

    def rows(self, samples: Sequence[int] | NDArray[Any]) -> SurgeryState:
        """As of `State`."""
        rows = np.asarray(samples, dtype=np.intp)
        return SurgeryState(self.plain.rows(rows), self.position, self.samples[rows])

    def compact(self) -> SurgeryState:
        """As of `State`."""
        return SurgeryState(self.plain.compact(), self.position, self.samples)

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """As of `State`."""
        return self.plain.arrays()


def plain_state(state: State) -> State:
    """The state as the model itself has it."""
    return state.plain if isinstance(state, SurgeryState) else state


class SurgeryModel:
    """A `StepModel` under operations: its states count the tokens that were read, and obey what is due there.

    Whoever reads a branch again with it, from the first token on, finds what the branch was made from.
    """

    def __init__(self, model: StateModel, operations: Sequence[Operation], samples: int) -> None:
        """samples: of the branch. Raises TuiGenError for an operation that this model or its state cannot have."""
        self._model, self._samples = model, samples
        edits = [_edit(model, operation, samples) for operation in operations]
        self._edits = sorted(edits, key=lambda edit: edit.past)  # what is held stays, whatever else is done
        self._takes = any(operation.donation for operation in operations)

    @property
    def eos(self) -> int | None:
        """As of `StepModel`."""
        return self._model.eos

    @property
    def rows_may_leave(self) -> bool:
        """As of `StepModel`."""
        return self._model.rows_may_leave

    @property
    def mixes_rows(self) -> bool:
        """As of `StepModel`."""
        return self._model.mixes_rows

    def start(self, batch: int) -> SurgeryState:
        """The state before the first token. Raises TuiGenError where it is not known whose state a row is to take."""
        if self._takes and batch != self._samples != 1:
            raise TuiGenError(f"a branch that takes a state is read with as many samples as it has, {self._samples}")
        samples = np.arange(batch) if batch == self._samples else np.zeros(batch, dtype=np.int64)
        return self._operate(SurgeryState(self._model.start(batch), 0, samples))

    def resume(self, state: State, position: int) -> SurgeryState:
        """A state of all samples before the token at a position, as it is under the operations that are due there."""
        return self._operate(SurgeryState(plain_state(state), position, np.arange(len(state))))

    def step(self, tokens: Tokens, state: SurgeryState) -> tuple[Logits, SurgeryState]:
        """As of `StepModel`."""
        logits, after = self._model.step(tokens, state.plain)
        return logits, self._after(state, after, 1)

    @property
    def read(self) -> Read | None:
        """As of `StepModel`; None is returned where an operation is due between the tokens."""
        return self._read if self._model.read else None

    @property
    def draw(self) -> Draw | None:
        """As of `StepModel`."""
        return self._draw if self._model.draw else None

    @property
    def score(self) -> Score | None:
        """As of `StepModel`; None is returned where an operation is due between the tokens."""
        return self._score if self._model.score else None

    def _read(self, tokens: Tokens, state: SurgeryState) -> SurgeryState | None:
        read, count = self._model.read, tokens.shape[1]
        after = read(tokens, state.plain) if read and self._is_free(state.position, count) else None
        return None if after is None else self._after(state, after, count)

    def _draw(self, tokens: Tokens, state: SurgeryState, uniform: Floats, rows: Floats) -> DeviceSample | None:
        draw = self._model.draw
        sample = draw(tokens, state.plain, uniform, rows) if draw else None
        return sample._replace(state=self._after(state, sample.state, 1)) if sample else None

    def _score(self, tokens: Tokens, following: Tokens, state: SurgeryState) -> tuple[Floats, SurgeryState] | None:
        score, count = self._model.score, tokens.shape[1]
        scores = score(tokens, following, state.plain) if score and self._is_free(state.position, count) else None
        return (scores[0], self._after(state, scores[1], count)) if scores else None

    def _is_free(self, position: int, count: int) -> bool:
        """Whether nothing is done between so many tokens, of which the first stands at a position."""
        return not any(edit.first < position + count and position + 1 < edit.past for edit in self._edits)

    def _after(self, before: SurgeryState, plain: State, count: int) -> SurgeryState:
        return self._operate(SurgeryState(plain, before.position + count, before.samples))

    def _operate(self, state: SurgeryState) -> SurgeryState:
        due = [edit for edit in self._edits if edit.first <= state.position < edit.past]
        if not due:
            return state
        arrays = list(state.plain.arrays())
        for edit in due:
            edit.change(arrays, state.samples)
        return SurgeryState(self._model.state(arrays, len(state)), state.position, state.samples)


class _Edit(NamedTuple):
    """What is done to the tensors of a state of these samples, before the tokens at positions from `first` to before
    `past`.
    """

    first: int
    past: int
    change: Callable[[list[NDArray[Any]], Tokens], None]


def check_intervention(model: StateModel, intervention: Intervention) -> None:
    """Raises TuiGenError for one that is not possible on the states of a model, whatever a donor has."""
    if isinstance(intervention, Take):
        StateParts(model).memory()
    else:
        _edit(model, Operation(0, intervention), 1)


def _edit(model: StateModel, operation: Operation, samples: int) -> _Edit:
    position, intervention, parts = operation.position, operation.intervention, StateParts(model)
    if isinstance(intervention, Forget):
        change = partial(_set, parts.sites(intervention.part, intervention.layer), 0.0)
        return _Edit(position, position + 1, change)
    if isinstance(intervention, Hold):
        return _Edit(
            position,
            _FOR_EVER,
            partial(
                _set,
                [parts.unit(intervention.part, intervention.layer, intervention.unit, intervention.value)],
                intervention.value,
            ),
        )
    parts.check_donation(operation.donation, samples)
    return _Edit(position, position + 1, partial(_give, operation.donation))


def _set(sites: Sequence[Site], value: float, arrays: list[NDArray[Any]], _: Tokens) -> None:
    for site in sites:
        arrays[site.part][site.place] = value


def _give(donation: Arrays, arrays: list[NDArray[Any]], samples: Tokens) -> None:
    arrays[:] = [part[samples] for part in donation]
