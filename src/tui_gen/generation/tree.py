"""The tree of branches of one model, by name, and the positions at which two of them differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch, BranchStart
from tui_gen.generation.protocol import StateModel
from tui_gen.sampling.params import Mask


@dataclass(frozen=True)
class TreeRow:
    """A branch as a line of a list."""

    branch: Branch
    depth: int
    """0 for one that starts from a prompt."""
    last: bool
    """Whether no other branch of the same parent follows."""


class Tree:
    """Branches by name. Names are unique; numbers, unless a person gives others."""

    def __init__(self, model: StateModel) -> None:
        self._model = model
        self._branches: dict[str, Branch] = {}
        self._numbers = 0

    def __len__(self) -> int:
        """Branches."""
        return len(self._branches)

    def __contains__(self, name: str) -> bool:
        """Whether there is a branch of that name."""
        return name in self._branches

    def __getitem__(self, name: str) -> Branch:
        """Raises TuiGenError for a name that no branch has."""
        if name not in self._branches:
            raise TuiGenError(f"there is no branch {name!r}; there are: {', '.join(self._branches) or 'none'}")
        return self._branches[name]

    def begin(self, start: BranchStart, name: str = "") -> Branch:
        """A new branch, of the parent that its beginning names, or from a prompt. Raises TuiGenError for a name that is
        taken and for a parent that is not there.
        """
        name = self._check_name(name) if name else self._next_number()
        parent = self[start.parent] if start.parent else None
        branch = self._branches[name] = Branch(name, start, self._model, parent=parent)
        return branch

    def rename(self, old: str, new: str) -> None:
        """Renames a branch, also as the parent of others. Raises TuiGenError for a name that is taken or empty."""
        branch = self[old]
        if old == new.strip():
            return
        name = self._check_name(new)
        self._branches = {name if key == old else key: value for key, value in self._branches.items()}
        branch.name = name
        for child in self._children(old):
            child.adopt(name)

    def delete(self, name: str) -> None:
        """Deletes a branch; its children become children of its parent."""
        branch = self[name]
        for child in self._children(name):
            child.adopt(branch.start.parent)
        del self._branches[name]
        branch.is_deleted = True

    def rows(self) -> Iterator[TreeRow]:
        """All branches, each after the one that it left, in the order of their beginning."""
        yield from self._twigs("", 0)

    def _twigs(self, parent: str, depth: int) -> Iterator[TreeRow]:
        children = self._children(parent)
        for branch in children:
            yield TreeRow(branch, depth, branch is children[-1])
            yield from self._twigs(branch.name, depth + 1)

    def _children(self, name: str) -> list[Branch]:
        return [branch for branch in self._branches.values() if branch.start.parent == name]

    def _next_number(self) -> str:
        while True:
            self._numbers += 1
            if str(self._numbers) not in self._branches:
                return str(self._numbers)

    def _check_name(self, name: str) -> str:
        name = name.strip()
        if not name:
            raise TuiGenError("a branch needs a name")
        if name in self._branches:
            raise TuiGenError(f"there is a branch {name!r} already")
        return name


def differences(one: Branch, other: Branch, sample: int = 0) -> Mask:
    """bool[positions]: where two branches have different tokens, or one has ended, up to the end of the longer one."""
    length = max(len(one), len(other))
    tokens = np.full((2, length), -1)
    for row, branch in zip(tokens, (one, other), strict=True):
        live = branch.live[:, sample]
        row[: len(branch)][live] = branch.tokens[:, sample][live]
    differ: Mask = tokens[0] != tokens[1]
    return differ
