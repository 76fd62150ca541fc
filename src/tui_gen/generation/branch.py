"""`Branch`: the tokens of a run with sparse states, so that any position can be looked at, changed and gone on from."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tui_gen.errors import TuiGenError
from tui_gen.generation.generate import generate
from tui_gen.generation.protocol import RunStart, State, StateModel, StepModel, state_after
from tui_gen.generation.state_parts import Arrays
from tui_gen.generation.surgery import Intervention, Operation, SurgeryModel, Take, plain_state
from tui_gen.sampling.params import FREE, Mask, SamplingParams, Tokens
from tui_gen.sampling.step import Step
from tui_gen.sampling.sweep import Sweep

ENDLESS = 2**40
"""A length that no run reaches; who iterates decides where to end."""
STATE_BYTES_PER_TOKEN = 1024
"""How much of the kept states may fall on each token."""
LEAST_INTERVAL = 16


@dataclass(frozen=True, eq=False)
class BranchStart:
    """How a branch begins: with the parameters as they were turned, enough to generate it again."""

    prompt: Tokens
    """[samples, n]: tokens that stand, and `FREE` for those to be sampled."""
    seed: int
    params: SamplingParams
    """The knobs at the start."""
    parent: str = ""
    """The branch that it leaves; empty for one that starts from a prompt."""
    at: int = 1
    """The first position that is its own."""
    override: Tokens | None = None
    """[samples, k]: what stands at its first positions in place of what the parent has; FREE where nothing does."""
    text: str = ""
    """The prompt as it was typed."""
    sweep: Sweep | None = None
    """What the samples differ by, if it is a knob."""
    interventions: tuple[Intervention, ...] = ()
    """What is done, in this order, to the state before the last token that it shares with the parent is read."""


class Branch:
    """A run and what is known of it. Its steps may be generated in one thread while another one reads it."""

    def __init__(self, name: str, start: BranchStart, model: StateModel, *, parent: Branch | None = None) -> None:
        """parent: the branch that `start` names. Raises TuiGenError for an intervention that the model cannot have."""
        self.name, self.start = name, start
        self.operations: tuple[Operation, ...] = _operations(start, parent)
        """What is done to its state, by it and by those that it comes from."""
        surgery = SurgeryModel(model, self.operations, len(start.prompt)) if self.operations else None
        self.model: StepModel = surgery or model
        """Obeys the operations: whoever reads the tokens with it, from the first one on, finds what was there."""
        self.is_deleted = False
        samples, common = len(start.prompt), start.at if parent else 0
        self._tokens, self._given, self._live = (
            GrowableArray(samples, np.int32),
            GrowableArray(samples, np.bool_),
            GrowableArray(samples, np.bool_),
        )
        self.turns: list[tuple[int, SamplingParams]] = []
        """From which position on which knobs counted, in order."""
        self._states: dict[int, State] = {}
        self._overridden: dict[int, Mask] = {}
        self.head: int = parent.head if parent else start.prompt.shape[1]
        """The first position after the prompt that all of it began with."""
        if parent:
            self._extend(parent.tokens[:common], parent.given[:common], parent.live[:common])
            self.turns += [turn for turn in parent.turns if turn[0] < common]
            for at, state in parent._states.items():
                if at < common:
                    self._states[at] = surgery.resume(state, at) if surgery else plain_state(state)
            self._overridden |= {at: mask for at, mask in parent._overridden.items() if at < common}
            self._override(parent)
        else:
            everyone = np.ones((1, samples), dtype=bool)
            self._extend(start.prompt[:, :1].T, everyone, everyone)
            self._states[0] = self.model.start(samples)
        self.every = checkpoint_interval(self._states[0].nbytes // samples)
        """How many positions lie between states that are kept."""

    def __len__(self) -> int:
        """Positions whose token is known; the first is the prompt's first token."""
        return len(self._tokens)

    @property
    def samples(self) -> int:
        """How many there are."""
        return len(self.start.prompt)

    @property
    def tokens(self) -> Tokens:
        """int32[positions, samples]."""
        return self._tokens.rows

    @property
    def given(self) -> Mask:
        """bool[positions, samples]: whether the token stood in the prompt or was chosen; others were sampled."""
        return self._given.rows

    @property
    def live(self) -> Mask:
        """bool[positions, samples]: whether the sample still ran; tokens after its end mean nothing."""
        return self._live.rows

    @property
    def ended(self) -> bool:
        """Whether every sample has come to its end."""
        return not self._live_after(len(self) - 1).any()

    def has_ended(self, sample: int) -> bool:
        """Whether one of the samples has come to its end."""
        return not self._live_after(len(self) - 1)[sample]

    def adopt(self, parent: str) -> None:
        """Sets the name of the parent branch, after the parent was renamed or deleted."""
        self.start = replace(self.start, parent=parent)

    def is_chosen(self, position: int, sample: int) -> bool:
        """Whether a person chose this token in place of another one."""
        return position in self._overridden and bool(self._overridden[position][sample])

    def steps(self, params: SamplingParams, limit: Callable[[], int] = lambda: ENDLESS) -> Iterator[Step]:
        """Goes on from the last position. What it yields is for `record`.

        limit: how many positions there are to be at most; asked at every step.
        """
        start = self.point(len(self) - 1)
        if not start.live.any() or len(self) >= limit():
            return
        seed, prompt, sweep = self.start.seed, self.start.prompt, self.start.sweep
        for step in generate(self.model, prompt, params, length=ENDLESS, seed=seed, start=start, sweep=sweep):
            yield step
            if step.index + 1 >= limit():
                return

    def step_buffer(self) -> StepBuffer:
        """To collect steps in, before they are recorded."""
        return StepBuffer(self.every)

    def record(self, buffer: StepBuffer) -> None:
        """Takes note of steps that follow what is known."""
        if buffer.first != len(self):
            raise ValueError(f"position {buffer.first} does not follow {len(self) - 1}")
        self._extend(buffer.tokens, buffer.given, buffer.live)
        self._states = self._states | buffer.states  # another thread may be looking for one
        for position, latest in buffer.turns:
            params = self._without_swept(latest)
            if not self.turns or self.turns[-1][1] != params:
                self.turns.append((position, params))

    def params_at(self, position: int, sample: int | None = None) -> SamplingParams:
        """The knobs that counted for a token; of one sample, with its own value of a swept knob."""
        at = bisect_right(self.turns, position, key=lambda turn: turn[0])
        params = self.turns[at - 1][1] if at else self.start.params
        return params if sample is None or not self.start.sweep else self.start.sweep.column(params, sample)

    def look(self, position: int) -> Step:
        """Runs the model again and returns the Step at a position, from 1 to len(self).

        At len(self), the next position to be sampled, its tokens are FREE. Raises TuiGenError for one further on.
        """
        if not 1 <= position <= len(self):
            raise TuiGenError(f"there is no position {position}; the last is {len(self) - 1}")
        logits, after = self.model.step(self._read(position - 1), self._state_before(position - 1))
        if position == len(self):
            nobody = np.zeros(self.samples, dtype=bool)
            tokens, given, live = np.full(self.samples, FREE), nobody, self._live_after(position - 1)
        else:
            tokens, given, live = self._read(position), self.given[position], self.live[position]
        params, sweep = self.params_at(position), self.start.sweep
        return Step(position, tokens, given, live, logits, None, params, 0.0, after, sweep=sweep)

    def point(self, position: int) -> RunStart:
        """The RunStart from which `generate` goes on: the token here, the state before it, the numbers drawn."""
        draws = (self.live[: position + 1] & ~self.given[: position + 1]).sum(axis=0)
        draws += sum(mask.astype(np.int64) for mask in self._overridden.values())
        return RunStart(position, self._read(position), self._state_before(position), self._live_after(position), draws)

    def states(self, first: int, past: int) -> Iterator[State]:
        """The states before the tokens at positions from first to past, both included, computed anew; past is at most
        the number of positions.
        """
        state = self._state_before(first)
        yield state
        for position in range(first, past):
            _, state = self.model.step(self._read(position), state)
            yield state

    def changed(self, at: int, override: Tokens | None = None, **facts: Any) -> BranchStart:
        """The BranchStart of a child branch that shares this one's tokens before position `at`.

        override: int64[samples, k], what stands there instead, FREE where nothing does; without it, all is sampled
        anew. facts: another `seed`, other `params`. Raises TuiGenError for a position that cannot be.
        """
        if not 1 <= at <= len(self):
            raise TuiGenError(f"a branch can begin at positions 1 to {len(self)}, not at {at}")
        own = override if override is not None else np.zeros((self.samples, 0), dtype=np.int64)
        before, end = self.start.prompt, at + own.shape[1]
        prompt = np.pad(before, ((0, 0), (0, max(0, end - before.shape[1]))), constant_values=FREE)
        chosen = 0 if self.start.override is None else self.start.override.shape[1]
        own_end = min(prompt.shape[1], self.start.at + chosen)
        for position in range(at, own_end):  # what was drawn or chosen up to there stands here no more
            prompt[self._draws_at(position), position] = FREE
        prompt[:, :at] = self.tokens[:at].T
        prompt[:, at:end] = np.where(own == FREE, prompt[:, at:end], own)
        start = replace(
            self.start, prompt=prompt, params=self.params_at(at), parent=self.name, at=at, override=override
        )
        return replace(start, **{"interventions": (), **facts})

    def operated(self, position: int, *interventions: Intervention, **facts: Any) -> BranchStart:
        """The BranchStart of a child branch that shares the tokens up to a position, before the last of which is read
        something is done to the state.

        Seed and knobs are this one's, unless `facts` give others. Raises TuiGenError for a position or a donor that
        cannot be; what the model's state does not have is refused when the branch begins.
        """
        if not 0 <= position < len(self):
            raise TuiGenError(f"there is no token at position {position}; the last is at {len(self) - 1}")
        if not self._live_after(position).any():
            raise TuiGenError("nothing follows this token, so its state means nothing; go back to an earlier one")
        for take in interventions:
            if isinstance(take, Take) and take.donor.samples == self.samples:
                ended = self.live[position] & ~take.donor.runs_at(take.position)
                if ended.any():
                    sample = f"sample {int(ended.argmax()) + 1} of " if self.samples > 1 else ""
                    raise TuiGenError(f"{sample}branch {take.donor.name} has ended there and has no state to take")
        return self.changed(position + 1, interventions=interventions, **facts)

    def runs_at(self, position: int) -> Mask:
        """bool[samples]: whether the sample has a state before the token at a position, from 0 to len(self)."""
        self._check_position(position)
        return self._live_after(position - 1) if position else np.ones(self.samples, dtype=bool)

    def donation(self, position: int) -> Arrays:
        """The tensors of the state before the token at a position, from 0 to len(self). Raises TuiGenError."""
        self._check_position(position)
        return plain_state(self._state_before(position)).arrays()

    def _check_position(self, position: int) -> None:
        if not 0 <= position <= len(self):
            raise TuiGenError(f"branch {self.name} has no position {position}; the last is {len(self)}")

    def _without_swept(self, params: SamplingParams) -> SamplingParams:
        """With the swept knob as it was at the start: what it stands at counts for nothing, so it is never turned."""
        sweep = self.start.sweep
        return replace(params, **{sweep.knob: getattr(self.start.params, sweep.knob)}) if sweep else params

    def _override(self, parent: Branch) -> None:
        """A chosen token takes the random number of the one that it replaces, so that later ones keep theirs."""
        own, at = self.start.override, self.start.at
        for offset in range(own.shape[1] if own is not None else 0):
            assert own is not None
            self._overridden[at + offset] = (own[:, offset] != FREE) & parent._draws_at(at + offset)

    def _draws_at(self, position: int) -> Mask:
        """bool[samples]: whether a random number is for the token at a position, also where a person chose another."""
        prompt = self.start.prompt
        if position < len(self):
            is_free = ~self.given[position]
        else:
            is_free = prompt[:, position] == FREE if position < prompt.shape[1] else np.ones(self.samples, dtype=bool)
        return is_free | self._overridden.get(position, np.zeros(self.samples, dtype=bool))

    def _extend(self, tokens: Tokens, given: Mask, live: Mask) -> None:
        for array, rows in ((self._given, given), (self._live, live), (self._tokens, tokens)):
            array.extend(rows)

    def _read(self, position: int) -> Tokens:
        return self.tokens[position].astype(np.int64)

    def _live_after(self, position: int) -> Mask:
        eos = self.model.eos
        goes_on = self.given[position] | (self.tokens[position] != (-1 if eos is None else eos))
        live: Mask = self.live[position] & goes_on
        return live

    def _state_before(self, position: int) -> State:
        """From the nearest one before it that was kept."""
        near = max(at for at in self._states if at <= position)
        return state_after(self.model, self.tokens[near:position].T.astype(np.int64), self._states[near])


def _operations(start: BranchStart, parent: Branch | None) -> tuple[Operation, ...]:
    """Those of the parent that lie in what is shared, and a branch's own."""
    inherited = [each for each in parent.operations if each.position < start.at] if parent else []
    own = [
        Operation(start.at - 1, each, each.donor.donation(each.position) if isinstance(each, Take) else ())
        for each in start.interventions
    ]
    return (*inherited, *own)


def checkpoint_interval(state_bytes: int) -> int:
    """Every how many tokens a state of so many bytes, of one sample, is kept."""
    return max(LEAST_INTERVAL, -(-state_bytes // STATE_BYTES_PER_TOKEN))


class StepBuffer:
    """Collects steps one by one; afterwards has them as arrays over positions. Keeps the newest step as a whole."""

    def __init__(self, every: int) -> None:
        """every: positions between states that are kept."""
        self._every, self._due = every, 0
        self._tokens, self._given, self._live = list[Tokens](), list[Mask](), list[Mask]()
        self.newest: Step | None = None
        """The last step."""
        self.newest_live: Step | None = None
        """The last step in which the first sample still ran."""
        self.states: dict[int, State] = {}
        """States before the tokens at some positions."""
        self.turns: list[tuple[int, SamplingParams]] = []
        """Positions from which on other knobs counted; the first position is one of them."""
        self.seconds = 0.0
        """What model and sampling took."""
        self.sampled = 0
        """Steps whose token was sampled for some sample."""

    def append(self, step: Step) -> None:
        """Takes the next step."""
        self._tokens.append(step.tokens)
        self._given.append(step.given)
        self._live.append(step.live)
        if step.index >= self._due and not callable(step.state_source):
            self.states[step.index], self._due = step.state.compact(), step.index + self._every
        if self.newest is None or step.params is not self.newest.params:
            self.turns.append((step.index, step.params))
        if step.live[0]:
            self.newest_live = step
        self.seconds += step.seconds
        self.sampled += step.sampled
        self.newest = step

    def settle(self) -> None:
        """Copies the logits of the newest steps from the GPU now, before later steps overwrite them there."""
        for step in (self.newest, self.newest_live):
            if step and step.report:
                _ = step.logits

    def __len__(self) -> int:
        """Steps."""
        return len(self._tokens)

    @property
    def first(self) -> int:
        """Position of the first step."""
        return self.newest.index - len(self) + 1 if self.newest else 0

    @property
    def tokens(self) -> Tokens:
        """int64[steps, samples]."""
        return np.array(self._tokens)

    @property
    def given(self) -> Mask:
        """bool[steps, samples]: whether the token stood in the prompt."""
        return np.array(self._given)

    @property
    def live(self) -> Mask:
        """bool[steps, samples]: whether the sample still ran."""
        return np.array(self._live)


class GrowableArray:
    """An array [rows, samples] that grows at its end without being copied each time."""

    def __init__(self, samples: int, kind: type[np.generic]) -> None:
        self._array: NDArray[Any] = np.zeros((64, samples), dtype=kind)
        self._count = 0

    def extend(self, rows: NDArray[Any]) -> None:
        """Adds rows [n, samples]."""
        end = self._count + len(rows)
        if end > len(self._array):
            larger = np.zeros((2 * end, self._array.shape[1]), dtype=self._array.dtype)
            larger[: self._count] = self._array[: self._count]
            self._array = larger
        self._array[self._count : end] = rows
        self._count = end

    def __len__(self) -> int:
        """Rows."""
        return self._count

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Row by row."""
        return iter(self.rows)

    @property
    def rows(self) -> NDArray[Any]:
        """All rows, not to be changed."""
        return self._array[: self._count]
