"""Surgery on the state of a recurrent model: forget, hold a unit, take another state; and a model that obeys it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from tui_gen.errors import TuiGenError
from tui_gen.generation.protocol import DeviceSample, Draw, Read, Score, State, StateModel
from tui_gen.sampling.params import Floats, Logits, Tokens

Donor = TypeVar("Donor")
RECURRENT = "h", "c"
"""Parts of a state that have layers: `h` is [batch, layers, width], or `h.0` and so on [batch, width] where widths
differ."""
_STATE = "state."
_FOR_EVER = 2**62
Arrays = Sequence[NDArray[Any]]
"""The tensors of a state, as of `State.arrays`."""


@dataclass(frozen=True)
class Forget:
    """Numbers of the state become zero, which is what they are before the first token."""

    part: str = ""
    """`h`, `c`, or the name of any other part that holds real numbers; empty for all that there is of `h` and `c`."""
    layer: int | None = None
    """Counted from 0; None for all."""

    def __str__(self) -> str:
        return f"forget {self.part or 'the state'}{_of_layer(self.layer)}"


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
        return f"hold unit {self.unit} of {self.part}{_of_layer(self.layer)} at {self.value:g}"


@dataclass(frozen=True)
class Take(Generic[Donor]):
    """The state of another branch, sample by sample, takes the place of this one's."""

    donor: Donor
    """The branch, or in a session its number."""
    position: int
    """Of the token before which the donor had the state."""


Intervention = Forget | Hold | Take[Any]


def _of_layer(layer: int | None) -> str:
    """People count layers from 1, and units from 0, as the panel of states does."""
    return "" if layer is None else f" of layer {layer + 1}"


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


class _Site(NamedTuple):
    """Some numbers of a state."""

    part: int
    """Which of its tensors."""
    place: tuple[Any, ...]
    """The index of all samples in it."""


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
        _Parts(model).recurrent()
    else:
        _edit(model, Operation(0, intervention), 1)


def layers_of(model: StateModel, state: Arrays) -> dict[tuple[str, int], NDArray[Any]]:
    """The numbers [batch, width] of each layer of `h` and `c`, by part and layer, where it is known which they are.

    Raises TuiGenError where there is neither.
    """
    return {place: state[site.part][site.place] for place, site in _Parts(model).layers().items()}


def _edit(model: StateModel, operation: Operation, samples: int) -> _Edit:
    position, intervention, parts = operation.position, operation.intervention, _Parts(model)
    if isinstance(intervention, Forget):
        change = partial(_set, parts.sites(intervention.part, intervention.layer), 0.0)
        return _Edit(position, position + 1, change)
    if isinstance(intervention, Hold):
        return _Edit(position, _FOR_EVER, partial(_set, [parts.unit(intervention)], intervention.value))
    parts.check_donation(operation.donation, samples)
    return _Edit(position, position + 1, partial(_give, operation.donation))


def _set(sites: Sequence[_Site], value: float, arrays: list[NDArray[Any]], _: Tokens) -> None:
    for site in sites:
        arrays[site.part][site.place] = value


def _give(donation: Arrays, arrays: list[NDArray[Any]], samples: Tokens) -> None:
    arrays[:] = [part[samples] for part in donation]


class _Parts:
    """The tensors of a model's state by name."""

    def __init__(self, model: StateModel) -> None:
        names = [port.name.removeprefix(_STATE) for port in model.inputs[1:]]
        self._arrays = model.start(1).arrays()
        pairs = zip(names, self._arrays, strict=True)
        self._tensors = {
            name: at for at, (name, array) in enumerate(pairs) if array.dtype.kind == "f" and array.ndim > 1
        }
        """Those that hold real numbers."""
        self._layers = {part: self._sites_of(part) for part in RECURRENT}

    def recurrent(self) -> list[str]:
        """Which of `h` and `c` there are. Raises TuiGenError where there is neither."""
        here = [part for part in RECURRENT if self._layers[part]]
        if not here:
            raise TuiGenError(f"this is for recurrent models; the state has neither h nor c, but {self._listed()}")
        return here

    def layers(self) -> dict[tuple[str, int], _Site]:
        """Where each layer is, by part and layer. Raises TuiGenError where there is none."""
        parts = [part for part in self.recurrent() if self._are_known(part)]
        places = [(part, layer) for part in parts for layer in self._layers[part]]
        return {(part, layer): self._layers[part][layer] for part, layer in sorted(places, key=lambda place: place[1])}

    def sites(self, part: str, layer: int | None) -> list[_Site]:
        """Where a part is, all of it or one layer. Raises TuiGenError for what is not there."""
        if not part:
            return [site for name in self.recurrent() for site in self.sites(name, layer)]
        if layers := self._layers.get(part):
            return list(layers.values()) if layer is None else [self._layer(part, layer)]
        if part not in self._tensors:
            raise TuiGenError(f"the state has no part {part!r:.60} that can be changed, but {self._listed()}")
        if layer is not None:
            raise TuiGenError(f"{part} has no layers; it can be forgotten as a whole")
        return [_Site(self._tensors[part], (...,))]

    def unit(self, hold: Hold) -> _Site:
        """Where a unit is. Raises TuiGenError for one that is not there, and for a value that is too large for it."""
        if not self._layers.get(hold.part):
            raise TuiGenError(f"a unit of h or c can be held, not of {hold.part!r:.60}; the state has {self._listed()}")
        site = self._layer(hold.part, hold.layer)
        array = self._arrays[site.part]
        last = array.shape[-1] - 1
        if not 0 <= hold.unit <= last:
            raise TuiGenError(f"{hold.part}{_of_layer(hold.layer)} has units 0 to {last}, not {hold.unit}")
        if not abs(hold.value) <= float(np.finfo(array.dtype).max):
            raise TuiGenError(f"a unit cannot be held at {hold.value:g}; its numbers are {array.dtype}")
        return _Site(site.part, (*site.place, hold.unit))

    def check_donation(self, donation: Arrays, samples: int) -> None:
        """Raises TuiGenError for a state of other samples, of another model, or of one that is not recurrent."""
        self.recurrent()
        shapes = [(part.shape[1:], part.dtype) for part in donation]
        if shapes != [(part.shape[1:], part.dtype) for part in self._arrays]:
            raise TuiGenError("the state of another model cannot be taken")
        if len(donation[0]) != samples:
            raise TuiGenError(
                f"the state of a branch of {len(donation[0])} samples cannot be taken into one of {samples}; each "
                "sample takes that of the same number"
            )

    def _sites_of(self, part: str) -> dict[int, _Site]:
        """The layers of `h` or `c`, by number."""
        if part in self._tensors:
            tensor = self._tensors[part]
            shape = self._arrays[tensor].shape
            rows = range(shape[1]) if len(shape) > 2 else ()
            return {row: _Site(tensor, (slice(None), row)) for row in rows} or {0: _Site(tensor, (...,))}
        numbers = {name: re.fullmatch(rf"{part}\.([0-9]{{1,4}})", name) for name in self._tensors}
        return {int(match[1]): _Site(self._tensors[name], (...,)) for name, match in numbers.items() if match}

    def _are_known(self, part: str) -> bool:
        """Whether it is known which layers have a part: all, or those that their names say."""
        return part not in self._tensors or len(self._layers[part]) >= len(self._layers["h"])

    def _layer(self, part: str, layer: int) -> _Site:
        layers = self._layers[part]
        if not self._are_known(part):
            raise TuiGenError(
                f"{len(layers)} of {len(self._layers['h'])} layers have {part}, and it is not known which; "
                "leave out the layer"
            )
        if layer not in layers:
            raise TuiGenError(f"{part} has {_numbered(layers)}, not layer {layer + 1}")
        return layers[layer]

    def _listed(self) -> str:
        names = list(self._tensors)
        return f"{', '.join(names[:4])}{' and more' if len(names) > 4 else ''}" if names else "none with real numbers"


def _numbered(layers: Iterable[int]) -> str:
    numbers = [str(layer + 1) for layer in layers]
    return f"layers {', '.join(numbers)}" if len(numbers) > 1 else f"layer {numbers[0]} alone"
