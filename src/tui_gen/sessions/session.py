"""What a session was: its models, and of every branch how it began, which knobs counted where, and how far it went."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch, BranchStart
from tui_gen.generation.surgery import Intervention, Take
from tui_gen.sampling.params import FREE, SamplingParams, Tokens
from tui_gen.sampling.sweep import Sweep


class Shift(NamedTuple):
    """How a later file of a picture's network counts positions that the file which made a branch counted otherwise."""

    at: int = 0
    """The first pixel's position, as it was counted."""
    by: int = 0
    """Tokens that the later file reads more to warm up, or fewer."""

    def position(self, position: int) -> int:
        """Where a position is now, or after how many there are as many of the picture."""
        return position + self.by if position >= self.at else position


_NOWHERE = Shift()


@dataclass
class Record:
    """A branch: all that is needed to make it again, and what tells whether that succeeded."""

    number: int
    """Its own for ever; names may change hands."""
    name: str
    prompt: Tokens
    """int64[samples, n]; of one that left another, from `at` on, for what comes before is the parent's."""
    seed: int
    params: SamplingParams
    """The knobs at the start."""
    sweep: Sweep | None = None
    """What the samples differ by, if it is a knob."""
    text: str = ""
    """The prompt as it was typed."""
    parent: int | None = None
    """The number of the branch that it left."""
    at: int = 1
    """The first position that is its own."""
    override: Tokens | None = None
    """[samples, k]: as in `BranchStart`."""
    positions: int = 1
    """How many were made, with those of the parent and the first one, which is given."""
    turns: list[tuple[int, SamplingParams]] = field(default_factory=list)
    """From which of its own positions on which knobs counted, in order."""
    checks: list[tuple[int, str]] = field(default_factory=list)
    """After how many positions, in order, the tokens had which `Fingerprint`."""
    deleted: bool = False
    model: int = 0
    """Which of the session's models made it; the others than the first stand beside it in comparisons."""
    interventions: tuple[Intervention, ...] = ()
    """As in `BranchStart`; the donor of a `Take` is a number."""
    shift: Shift = _NOWHERE
    """What `move` has done; `checks` are as they were."""

    @property
    def samples(self) -> int:
        """How many there are."""
        return len(self.prompt)

    @property
    def start(self) -> int:
        """The first position that it makes itself."""
        return 1 if self.parent is None else self.at

    @property
    def takes(self) -> list[Take[int]]:
        """Which states of other branches it takes."""
        return [each for each in self.interventions if isinstance(each, Take)]

    def beginning(self, parent: Branch | None, branches: Mapping[int, Branch]) -> BranchStart:
        """How the branch begins, now that its parent has been made again. branches: all that were, by number."""
        if parent is None:
            return BranchStart(self.prompt, self.seed, self.params, text=self.text, sweep=self.sweep)
        shared = parent.tokens[: self.at].T.astype(np.int64)
        prompt = np.concatenate([shared, self.prompt], axis=1)
        interventions = tuple(
            replace(each, donor=branches[each.donor]) if isinstance(each, Take) else each for each in self.interventions
        )
        how = (self.override, self.text, self.sweep, interventions)
        return BranchStart(prompt, self.seed, self.params, parent.name, self.at, *how)

    def move(self, shift: Shift, warm_up: int) -> None:
        """Counts positions as a later file of the network does. warm_up: the token that it reads to warm up."""
        if self.parent is None:
            extra = np.full((self.samples, max(0, shift.by)), warm_up)
            before, pixels = self.prompt[:, : shift.at + min(0, shift.by)], self.prompt[:, shift.at :]
            self.prompt = np.concatenate([before, extra, pixels], axis=1)
        else:
            self.at = shift.position(self.at)
        self.positions, self.shift = shift.position(self.positions), shift
        self.turns = [(shift.position(at), params) for at, params in self.turns]

    def params_at(self, position: int) -> SamplingParams | None:
        """The knobs that counted for a token; None before the first turn of its own."""
        at = bisect_right(self.turns, position, key=lambda turn: turn[0])
        return self.turns[at - 1][1] if at else None


@dataclass(frozen=True)
class SessionModel:
    """What tells a model from others."""

    name: str
    """Of its folder."""
    kind: str
    sha256: str
    """Of model.onnx, in hexadecimal."""

    def __str__(self) -> str:
        return f"the model {self.name!r:.60} (sha256 {self.sha256[:12]})"


@dataclass
class Session:
    """The branches of a sitting with a model, by number, each after the one that it left; those of other models too,
    which were compared with them.
    """

    models: list[SessionModel]
    """The model of the sitting, and the others."""
    version: str = ""
    """Of tui-gen, that wrote it."""
    records: dict[int, Record] = field(default_factory=dict)
    shown: int | None = None
    """Which branch was on the screen last."""
    comparisons: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Which branches of other models stand beside a branch: all their numbers, its own first."""
    cut: bool = False
    """Whether the last line of the file was cut off, as by a crash, and left out."""
    cells: int = 0
    """Tokens in all: what was made and what is in prompts, of all samples and branches."""

    @property
    def model(self) -> str:
        """The name of the first model."""
        return self.models[0].name

    def living(self) -> list[Record]:
        """Branches that were not deleted."""
        return [record for record in self.records.values() if not record.deleted]

    def needed(self) -> list[Record]:
        """The branches that were not deleted, and the deleted ones that these come from or take states of.

        Those come before what needs them.
        """
        needed, waiting = set[int](), [record.number for record in self.living()]
        while waiting:
            number = waiting.pop()
            if number not in needed:
                needed.add(number)
                record = self.records[number]
                waiting += [each.donor for each in record.takes]
                waiting += [] if record.parent is None else [record.parent]
        return [record for record in self.records.values() if record.number in needed]

    def chosen(self, name: str | None = None) -> Record:
        """The living branch of this name; without a name, the one last on the screen, else the newest.

        Those of the first model come before others. Raises TuiGenError if there is none.
        """
        living = sorted(self.living(), key=lambda record: record.model)
        if not living:
            raise TuiGenError("the session has no branches")
        if name is None:
            newest = [record for record in living if record.model == living[0].model][-1]
            return next((record for record in living if record.number == self.shown), newest)
        for record in living:
            if record.name == name:
                return record
        names = dict.fromkeys(record.name for record in living)
        raise TuiGenError(f"the session has no branch {name!r}; it has: {', '.join(names)}")

    def compared(self, record: Record) -> list[Record]:
        """The living branches that a branch is compared with, its own first; itself alone if with none."""
        numbers = self.comparisons.get(record.number, (record.number,))
        return [self.records[number] for number in numbers if not self.records[number].deleted]

    def needed_models(self) -> list[int]:
        """Which models it takes to make the branches again; the first always."""
        return sorted({0, *(record.model for record in self.needed())})


class Fingerprint:
    """The sha256 of a branch's tokens, of those samples that still ran. Hashes each position once, however it grows."""

    def __init__(self, shift: Shift = _NOWHERE) -> None:
        """shift: where the branch has other positions than those that are hashed."""
        self._hash, self._positions, self._shift = hashlib.sha256(), 0, shift

    def of(self, branch: Branch, positions: int) -> str:
        """Of the first so many positions, in hexadecimal; never fewer than the last time, and of the same branch."""
        new = np.arange(self._positions, positions)
        if self._shift.by:  # one warm-up token is as good as another
            first, by = self._shift
            new = np.where(new < first, np.minimum(new, first + by - 1), new + by)
        rows = np.where(branch.live[new], branch.tokens[new], FREE).astype("<i4")
        self._hash.update(rows.tobytes())
        self._positions = positions
        return self._hash.copy().hexdigest()
