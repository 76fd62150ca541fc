"""Branches that grow without a screen, and a tree of them with a journal beside it."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from tui_gen.generation.branch import Branch, BranchStart
from tui_gen.generation.tree import Tree
from tui_gen.library import LoadedModel
from tui_gen.sampling.params import SamplingParams, Tokens
from tui_gen.sessions.journal import Journal

WARM = SamplingParams(1.2)


def grow(
    branch: Branch, count: int | None = None, params: SamplingParams | None = None, *, limit: int = 10**6
) -> Branch:
    """Makes so many positions more in one go, or all up to the end or to a limit; returns the same branch."""
    steps, step_buffer = branch.steps(params or branch.params_at(len(branch)), lambda: limit), branch.step_buffer()
    for step in islice(steps, count):
        step_buffer.append(step)
    if len(step_buffer):
        branch.record(step_buffer)
    return branch


class JournaledTree:
    """A tree of branches whose journal lies in a folder."""

    def __init__(self, loaded_model: LoadedModel, folder: Path) -> None:
        self.loaded_model, self.tree = loaded_model, Tree(loaded_model.model)
        self.now = 0.0
        self.journal = Journal(loaded_model, folder=folder, clock=lambda: self.now)

    def start(self, text: str = "", *, samples: int = 1, prompt: Tokens | None = None, **facts: Any) -> Branch:
        """A branch from a prompt."""
        if prompt is None:
            prompt = self.loaded_model.codec.prompt([text] * samples)
        return self.begin(BranchStart(prompt, **{"seed": 5, "params": WARM, "text": text, **facts}))

    def leave(self, branch: Branch, at: int, override: Tokens | None = None, **facts: Any) -> Branch:
        """A branch that leaves another one."""
        return self.begin(branch.changed(at, override, **facts))

    def begin(self, start: BranchStart) -> Branch:
        branch = self.tree.begin(start)
        self.journal.note_start(branch)
        self.journal.note_shown(branch)
        return branch

    def go(self, branch: Branch, count: int, params: SamplingParams | None = None) -> Branch:
        """Makes so many positions more, in one go, and pauses."""
        grow(branch, count, params)
        self.journal.note_growth(branch, now=True)
        return branch

    def rename(self, branch: Branch, name: str) -> None:
        self.tree.rename(branch.name, name)
        self.journal.note_rename(branch)

    def delete(self, branch: Branch) -> None:
        self.tree.delete(branch.name)
        self.journal.note_deletion(branch)

    def saved(self, path: Path) -> Path:
        self.journal.save(path)
        return path

    @property
    def file(self) -> Path:
        """The journal's."""
        assert self.journal.path, self.journal.fault
        return self.journal.path
