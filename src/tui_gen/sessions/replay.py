"""Making a session again: every branch, token by token, and whether it came out as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch
from tui_gen.generation.describe import head_of, place
from tui_gen.generation.generate import generate
from tui_gen.generation.surgery import check_intervention
from tui_gen.generation.tree import Tree
from tui_gen.images.picture import first_pixel
from tui_gen.library import LoadedModel
from tui_gen.sampling.params import SamplingParams, Tokens
from tui_gen.sampling.step import Step
from tui_gen.sessions.session import Fingerprint, Record, Session, SessionModel, Shift
from tui_gen.text.codec import Codec

_KINDS = {"text": "text", "image": "pictures"}
_PIECE = 256
"""Positions that are recorded at once."""


@dataclass(frozen=True)
class Difference:
    """Where a branch did not come out as it was."""

    branch: str
    first: int
    last: int
    """Positions; the first other token stands at one from `first` to `last`."""
    where: str
    """The same as people count it, such as `token 12`."""
    model: str = ""
    """Whose branch it is, of several."""

    def __str__(self) -> str:
        branch = f"{self.branch} of {self.model}" if self.model else self.branch
        return f"branch {branch} differs from {self.where} on"


class Replay:
    """The branches of a session, made again one after the other while somebody iterates over `run`."""

    def __init__(
        self, session: Session, loaded_model: LoadedModel, others: Mapping[int, LoadedModel] | None = None
    ) -> None:
        """others: models besides the first, by their index in the session, see `Session.needed_models`.

        Raises TuiGenError for a model that the session cannot have been made with, and for one that is not there.
        """
        self.session = session
        self.models = {0: loaded_model, **(others or {})}
        """By their index in the session."""
        self.trees = {index: Tree(model.model) for index, model in self.models.items()}
        """Of each model, the branches so far; after the end, those that were not deleted."""
        self.tree = self.trees[0]
        """That of the first model."""
        self.branches: dict[int, Branch] = {}
        """All of them, by their numbers in the session."""
        self.differences: list[Difference] = []
        self.done = 0
        """Positions that were made."""
        self._records = session.needed()
        for index in session.needed_models():
            if index not in self.models:
                raise TuiGenError(f"the session was made with {session.models[index]} too, which is not open")
            records = [record for record in self._records if record.model == index]
            _move(records, self.models[index].card)
            _check(session.models[index].kind, records, self.models[index].card)
            _check_surgery(records, self.models[index])
        self.total = sum(record.positions - record.start for record in self._records)
        """Positions that are to be made."""

    @property
    def exact(self) -> bool:
        """Whether all branches that were made came out as they were, token for token."""
        return not self.differences

    def run(self) -> Iterator[tuple[Record, Step]]:
        """Makes all branches; yields each position as it is made. Nothing is computed before it is asked for."""
        for record in self._records:
            branch = self._begin(record)
            if branch:
                for step in grow(branch, record):
                    self.done += 1
                    yield record, step
                self._compare(record, branch)
        for record in self._records:
            if record.deleted and record.number in self.branches:
                self.trees[record.model].delete(self.branches[record.number].name)

    def _begin(self, record: Record) -> Branch | None:
        """None where its parent, or one whose state it takes, has come to an end before."""
        parent = None if record.parent is None else self.branches.get(record.parent)
        if record.parent is not None and (parent is None or len(parent) < record.at or not self._has_donors(record)):
            self._differ(record, parent, record.at, record.at)
            return None
        tree = self.trees[record.model]
        name = self._free_name(tree) if record.deleted else record.name
        branch = self.branches[record.number] = tree.begin(record.beginning(parent, self.branches), name)
        return branch

    def _has_donors(self, record: Record) -> bool:
        donors = [(self.branches.get(take.donor), take.position) for take in record.takes]
        return all(donor is not None and position <= len(donor) for donor, position in donors)

    def _free_name(self, tree: Tree) -> str:
        """For a branch that will be deleted; its own may belong to another one by now."""
        names, number = {record.name for record in self._records}, 1
        while (name := f"deleted {number}") in names or name in tree:
            number += 1
        return name

    def _compare(self, record: Record, branch: Branch) -> None:
        fingerprint, alike = Fingerprint(record.shift), record.start
        for count, sha256 in record.checks:
            positions = record.shift.position(count)
            if positions > len(branch):
                self._differ(record, branch, alike, len(branch))
                return
            if fingerprint.of(branch, count) != sha256:
                self._differ(record, branch, min(alike, positions - 1), positions - 1)
                return
            alike = positions

    def _differ(self, record: Record, branch: Branch | None, first: int, last: int) -> None:
        """branch: the one that is not as it was, or its parent, if that is not long enough."""
        where = _where(branch, first, last, self.models[record.model].codec) if branch else "its beginning"
        name = self.branches[record.number].name if record.number in self.branches else record.name
        model = self.session.models[record.model].name if record.model else ""
        self.differences.append(Difference(name, first, last, where, model))


def _where(branch: Branch, first: int, last: int, codec: Codec) -> str:
    """Positions as people count them."""
    first = max(first, min(last, head_of(branch, codec)))  # what the prompt gives is the same
    names = [place(branch, position, codec) for position in (first, last)]
    return names[0] if first == last else "somewhere between {} and {}".format(*names)


def replay(session: Session, loaded_model: LoadedModel, others: Mapping[int, LoadedModel] | None = None) -> Replay:
    """Makes a whole session again. Raises TuiGenError as `Replay` does."""
    made = Replay(session, loaded_model, others)
    for _ in made.run():
        pass
    return made


def grow(branch: Branch, record: Record) -> Iterator[Step]:
    """Makes a branch as long as it was, with the knobs turned where they were; yields the steps and records them.

    It is one run, for a run that is resumed rounds otherwise in the last digits.
    """
    first = len(branch)
    knobs = replace(record.params_at(first) or branch.params_at(first))
    yield from _run(branch, knobs, dict(record.turns), range(first, record.positions))


def grow_along(branch: Branch, first: Branch) -> Iterator[Step]:
    """Makes a branch as long as one beside it, with the knobs turned where they were turned there, if it does not end.

    Yields the steps and records them.
    """
    knobs = replace(first.params_at(len(branch)))
    yield from _run(branch, knobs, dict(first.turns), range(len(branch), len(first)))


def retold(branch: Branch) -> Iterator[Step]:
    """Runs the model over a branch's tokens again and yields the Step of every position but the first."""
    tokens = branch.tokens.T.astype(np.int64)
    start = branch.start
    for step in generate(branch.model, tokens, start.params, length=0, seed=start.seed, sweep=start.sweep):
        at = step.index
        yield replace(step, given=branch.given[at], live=branch.live[at], params=branch.params_at(at))


def _run(branch: Branch, knobs: SamplingParams, turns: dict[int, SamplingParams], positions: range) -> Iterator[Step]:
    steps, buffer = branch.steps(knobs), branch.step_buffer()
    for position in positions:
        _turn(knobs, turns.get(position, knobs))
        step = next(steps, None)
        if step is None:
            break
        buffer.append(step)
        yield step
        if len(buffer) == _PIECE:
            branch.record(buffer)
            buffer = branch.step_buffer()
    if len(buffer):
        branch.record(buffer)


def _turn(knobs: SamplingParams, target: Any) -> None:
    if target is not knobs:
        for knob in fields(knobs):
            setattr(knobs, knob.name, getattr(target, knob.name))


def _move(records: list[Record], card: ModelCard) -> None:
    """Counts positions as this file of the network does, if an earlier one has made the branches of the records, and
    read another number of tokens to warm up. Each record comes after that of its parent.
    """
    image, shifts = card.image, dict[int, Shift]()
    for record in records if image and image.warm_up else []:
        assert image
        if record.parent is None:
            first, [warm_up, *_] = first_pixel(record.prompt, image), image.warm_up
            count = int((record.prompt[0, :first] == warm_up).sum())
            shifts[record.number] = Shift(first, len(image.warm_up) - count)
        else:
            shifts[record.number] = shifts[record.parent]
        if shifts[record.number].by:
            record.move(shifts[record.number], image.warm_up[0])


def _check(kind: str, records: list[Record], card: ModelCard) -> None:
    """What a file says must not reach a model that has no such tokens."""
    if kind != card.kind:
        made, makes = _KINDS[kind], _KINDS[card.kind]
        raise TuiGenError(f"the session was made with a model that makes {made}, and {card.name} makes {makes}")
    past = {card.bos, *(card.image.conditions if card.image else ()), *(card.image.warm_up if card.image else ())}
    for record in records:
        strange = set(_past(record.prompt, card)) - past
        if record.override is not None:
            strange |= set(_past(record.override, card))
        if strange:
            raise TuiGenError(f"branch {record.name!r} has token {min(strange)}, which {card.name} does not have")
        before = record.prompt >= card.vocab_size
        if (before != before[:1]).any():
            raise TuiGenError(f"the samples of branch {record.name!r} do not begin their pictures at the same place")


def _check_surgery(records: list[Record], loaded_model: LoadedModel) -> None:
    """Before anything is made, what a file says of the model's state."""
    for record in records:
        for intervention in record.interventions:
            try:
                check_intervention(loaded_model.model, intervention)
            except TuiGenError as fault:
                name = loaded_model.card.name
                raise TuiGenError(f"branch {record.name!r} cannot be made with {name}: {fault}") from fault


def _past(tokens: Tokens, card: ModelCard) -> list[int]:
    """Those that are read but never made."""
    found: list[int] = np.unique(tokens[tokens >= card.vocab_size]).tolist()
    return found


@dataclass(frozen=True)
class LoadedSession:
    """A session that was read, and the models to play it with."""

    session: Session
    folders: Mapping[int, Path]
    """Of the models that it needs, by their index in it."""
    replaced: Sequence[SessionModel]
    """Those in whose folders there is another model."""
    chosen: Record
    """The branch to show or to write."""
    earlier: Sequence[SessionModel] = ()
    """Those that a later file of the same network stands for."""

    @property
    def folder(self) -> Path:
        """Of the first model."""
        return self.folders[0]

    def fault(self, replay: Replay) -> str:
        """Why a replay was not exact; empty if it was."""
        if self.replaced:
            return "not exact: this is another model than the one that the session was made with"
        by_earlier = f" ({self.origin})" if self.earlier else ""
        return f"not exact: {replay.differences[0]}{by_earlier}" if replay.differences else ""

    @property
    def origin(self) -> str:
        """Which earlier files of the same networks the session was made with; empty if with none."""
        names = " and ".join(model.name for model in self.earlier)
        return f"made with an earlier file of {names}" if names else ""
