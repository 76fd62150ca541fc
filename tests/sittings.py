"""A sitting as the screen has it: branches that begin, grow in pieces and are named, with a journal beside them."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from tui_gen.generation.branch import Beginning, Branch
from tui_gen.generation.tree import Tree
from tui_gen.library import Playable
from tui_gen.sampling.params import SamplingParams, Tokens
from tui_gen.sessions.journal import Journal

WARM = SamplingParams(1.2)


class Sitting:
    """A tree of branches whose journal lies in a folder."""

    def __init__(self, playable: Playable, folder: Path) -> None:
        self.playable, self.tree = playable, Tree(playable.model)
        self.now = 0.0
        self.journal = Journal(playable, folder=folder, clock=lambda: self.now)

    def start(self, text: str = "", *, samples: int = 1, prompt: Tokens | None = None, **facts: Any) -> Branch:
        """A branch from a prompt."""
        if prompt is None:
            prompt = self.playable.codec.prompt([text] * samples)
        return self.begin(Beginning(prompt, **{"seed": 5, "params": WARM, "text": text, **facts}))

    def leave(self, branch: Branch, at: int, override: Tokens | None = None, **facts: Any) -> Branch:
        """A branch that leaves another one."""
        return self.begin(branch.changed(at, override, **facts))

    def begin(self, begun: Beginning) -> Branch:
        branch = self.tree.begin(begun)
        self.journal.begun(branch)
        self.journal.shown(branch)
        return branch

    def go(self, branch: Branch, count: int, params: SamplingParams | None = None) -> Branch:
        """Makes so many positions more, in one go, and pauses."""
        made = branch.stretch()
        for step in islice(branch.steps(params or branch.params_at(len(branch))), count):
            made.append(step)
        if len(made):
            branch.record(made)
        self.journal.made(branch, now=True)
        return branch

    def rename(self, branch: Branch, name: str) -> None:
        self.tree.rename(branch.name, name)
        self.journal.renamed(branch)

    def delete(self, branch: Branch) -> None:
        self.tree.delete(branch.name)
        self.journal.deleted(branch)

    def saved(self, path: Path) -> Path:
        self.journal.save(path)
        return path

    @property
    def file(self) -> Path:
        """The journal's."""
        assert self.journal.path, self.journal.fault
        return self.journal.path
