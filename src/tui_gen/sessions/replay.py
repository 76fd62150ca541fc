"""Making a session again: every branch, token by token, and whether it came out as it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch
from tui_gen.generation.describe import head_of, place
from tui_gen.generation.generate import generate
from tui_gen.generation.tree import Tree
from tui_gen.library import LoadedModel
from tui_gen.sampling.params import SamplingParams, Tokens
from tui_gen.sampling.step import Step
from tui_gen.sessions.session import Fingerprint, Record, Session

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

    def __str__(self) -> str:
        return f"branch {self.branch} differs from {self.where} on"


class Replay:
    """The branches of a session, made again one after the other while somebody iterates over `run`."""

    def __init__(self, session: Session, loaded_model: LoadedModel) -> None:
        """Raises TuiGenError for a model that the session cannot have been made with."""
        self.session, self._codec = session, loaded_model.codec
        self.tree = Tree(loaded_model.model)
        """The branches so far; after the end, those that were not deleted."""
        self.branches: dict[int, Branch] = {}
        """All of them, by their numbers in the session."""
        self.differences: list[Difference] = []
        self.done = 0
        """Positions that were made."""
        self._records = session.needed()
        self.total = sum(record.positions - record.start for record in self._records)
        """Positions that are to be made."""
        _check(session, self._records, loaded_model.card)

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
                self.tree.delete(self.branches[record.number].name)

    def _begin(self, record: Record) -> Branch | None:
        """None where its parent has come to an end before."""
        parent = None if record.parent is None else self.branches.get(record.parent)
        if record.parent is not None and (parent is None or len(parent) < record.at):
            where = place(parent, record.at, self._codec) if parent else "its beginning"
            self.differences.append(Difference(record.name, record.at, record.at, where))
            return None
        name = self._free_name() if record.deleted else record.name
        branch = self.branches[record.number] = self.tree.begin(record.beginning(parent), name)
        return branch

    def _free_name(self) -> str:
        """For a branch that will be deleted; its own may belong to another one by now."""
        names, number = {record.name for record in self._records}, 1
        while (name := f"deleted {number}") in names or name in self.tree:
            number += 1
        return name

    def _compare(self, record: Record, branch: Branch) -> None:
        fingerprint, alike = Fingerprint(), record.start
        for positions, sha256 in record.checks:
            if positions > len(branch):
                self._note_difference(branch, alike, len(branch))
                return
            if fingerprint.of(branch, positions) != sha256:
                self._note_difference(branch, min(alike, positions - 1), positions - 1)
                return
            alike = positions

    def _note_difference(self, branch: Branch, first: int, last: int) -> None:
        begin = max(first, min(last, head_of(branch, self._codec)))  # what the prompt gives is the same
        names = [place(branch, position, self._codec) for position in (begin, last)]
        where = names[0] if begin == last else "a place from {} to {}".format(*names)
        self.differences.append(Difference(branch.name, first, last, where))


def replay(session: Session, loaded_model: LoadedModel) -> Replay:
    """Makes a whole session again. Raises TuiGenError for a model that it cannot have been made with."""
    made = Replay(session, loaded_model)
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


def _check(session: Session, records: list[Record], card: ModelCard) -> None:
    """What a file says must not reach a model that has no such tokens."""
    if session.kind != card.kind:
        made, makes = _KINDS[session.kind], _KINDS[card.kind]
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


def _past(tokens: Tokens, card: ModelCard) -> list[int]:
    """Those that are read but never made."""
    found: list[int] = np.unique(tokens[tokens >= card.vocab_size]).tolist()
    return found


@dataclass(frozen=True)
class LoadedSession:
    """A session that was read, and the model to play it with."""

    session: Session
    folder: Path
    """Of the model."""
    same_model: bool
    """Whether it is the one that the session was made with."""
    chosen: Record
    """The branch to show or to write."""

    def fault(self, replay: Replay) -> str:
        """Why a replay was not exact; empty if it was."""
        if not self.same_model:
            return "not exact: this is another model than the one that the session was made with"
        return f"not exact: {replay.differences[0]}" if replay.differences else ""
