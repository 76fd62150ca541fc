"""An open model, its tree of branches, its journal, and every operation on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np

from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch, BranchStart
from tui_gen.generation.describe import head_of, place
from tui_gen.generation.tree import Tree
from tui_gen.images.codec import ImageCodec
from tui_gen.images.completion import completion_prompt
from tui_gen.library import LoadedModel
from tui_gen.sampling.knobs import SHOWN
from tui_gen.sampling.params import FREE, SamplingParams, Tokens, new_seed
from tui_gen.sampling.sweep import Sweep, default_values
from tui_gen.sessions.journal import Journal
from tui_gen.sessions.replay import Replay
from tui_gen.text.codec import TextCodec


class Workspace:
    """What is done with one model: each operation changes the tree and is written to the journal."""

    def __init__(self, loaded_model: LoadedModel, *, tree: Tree | None = None, folder: Path | None = None) -> None:
        """folder: where the journal is kept, in place of the user's own."""
        self.loaded_model = loaded_model
        self.tree = Tree(loaded_model.model) if tree is None else tree
        self.journal = Journal(loaded_model, folder=folder)
        self.shown = ""
        """The name of the branch that a person looked at last."""
        self._lengths: dict[str, int] = {}
        self._fault = ""

    @classmethod
    def of_replay(cls, loaded_model: LoadedModel, replay: Replay) -> Self:
        """Goes on with a session that was made again."""
        workspace = cls(loaded_model, tree=replay.tree)
        workspace.journal.take_over(replay.session, replay.branches)
        return workspace

    def start(self, text: str, *, samples: int, params: SamplingParams, seed: int, length: int | None) -> Branch:
        """A branch from a prompt. Raises TuiGenError that names what the model does not know."""
        prompt = self.loaded_model.codec.prompt([text] * samples)
        return self._begin(BranchStart(prompt, seed, params.checked(), text=text), length)

    def sweep(self, text: str, knob: str, *, params: SamplingParams, seed: int, length: int | None) -> Branch:
        """The same prompt at several values of a knob, with the same random numbers.

        knob: the name of one of `SamplingParams`, or of any other knob: then it is the temperature.
        """
        knob = knob if knob in SHOWN else "temperature"
        sweep = Sweep(knob, default_values(knob, params, self.loaded_model.card.vocab_size)).checked(params)
        prompt = self.loaded_model.codec.prompt([text] * len(sweep))
        return self._begin(BranchStart(prompt, seed, params.checked(), text=text, sweep=sweep), length)

    def complete(self, text: str, levels: Tokens, *, samples: int, params: SamplingParams, seed: int) -> Branch:
        """Draws what is FREE of a picture [height, width(, 3)], so many times."""
        codec = self.loaded_model.codec
        if not isinstance(codec, ImageCodec):
            raise TuiGenError(f"{self.loaded_model.card.name} writes text; there is no picture to complete")
        prompt = completion_prompt(codec, text, levels, samples)
        return self._begin(BranchStart(prompt, seed, params.checked(), text=text), None)

    def replace_tokens(self, branch: Branch, at: int, sample: int, tokens: list[int], params: SamplingParams) -> Branch:
        """A branch in which other tokens stand from a position on, in one sample. Raises TuiGenError."""
        if not tokens:
            raise TuiGenError("type what is to stand there")
        override = np.full((branch.samples, len(tokens)), FREE, dtype=np.int64)
        override[sample] = tokens
        return self._leave(branch, at, override, params, branch.start.seed)

    def resample(self, branch: Branch, at: int, params: SamplingParams, *, seed: int | None = None) -> Branch:
        """A branch that goes on from before a position with other knobs and the same random numbers.

        With the knobs as they were, it would be the same: it gets a new seed then. seed: the one to take in any case.
        """
        if seed is None:
            same = at >= len(branch) or branch.params_at(at) == params
            seed = new_seed() if same else branch.start.seed
        return self._leave(branch, at, None, params, seed)

    def rename(self, name: str, other: str) -> None:
        """Raises TuiGenError for a name that is taken or empty."""
        branch = self.tree[name]
        self.tree.rename(name, other)
        self.shown = branch.name if self.shown == name else self.shown
        self.journal.note_rename(branch)

    def complaint_about_name(self, name: str, other: str) -> str:
        """Why a branch cannot be renamed so; empty if it can."""
        other = other.strip()
        return "there is such a branch already" if other != name and other in self.tree else ""

    def delete(self, name: str) -> Branch:
        """Deletes a branch; returns the nearest that stays, which is shown in its place.

        Raises TuiGenError for the only one.
        """
        if len(self.tree) == 1:
            raise TuiGenError("the only branch stays")
        branch = self.tree[name]
        self.tree.delete(name)
        self.journal.note_deletion(branch)
        parent = branch.start.parent
        near = self.tree[parent] if parent in self.tree else next(self.tree.rows()).branch
        self.shown = near.name if self.shown == name else self.shown
        return near

    def show(self, branch: Branch) -> None:
        """A person looks at this branch now."""
        self.shown = branch.name
        self.journal.note_shown(branch)

    def note_growth(self, branch: Branch, *, resting: bool = False) -> None:
        """Tells the journal that a branch may have grown. resting: it pauses or has ended, so nothing is put off."""
        self.journal.note_growth(branch, now=resting)

    def take_fault(self) -> str:
        """Why the journal cannot be kept, told once; empty while all is well."""
        fault, self._fault = self.journal.fault if not self._fault else "", self.journal.fault
        return fault

    def close(self) -> None:
        """Notes what is not noted yet and closes the journal."""
        self.journal.close()

    def tokens_of(self, text: str) -> list[int]:
        """What a person typed in a token's place. Raises TuiGenError for what the model does not know."""
        codec = self.loaded_model.codec
        if isinstance(codec, TextCodec):
            return codec.ids(text)
        if not text.strip().isdecimal() or int(text) >= codec.image.levels:
            raise TuiGenError(f"a {codec.unit} is a number from 0 to {codec.image.levels - 1}, not {text!r:.40}")
        return [int(text)]

    def limit(self, branch: Branch) -> int:
        """Positions that the branch may have."""
        length = self._lengths.get(branch.name, self.loaded_model.codec.length(None))
        return max(len(branch), self.head(branch) + length)

    def is_full(self, branch: Branch) -> bool:
        """Whether no more may be sampled without making it longer."""
        return branch.ended or len(branch) >= self.limit(branch)

    def set_length(self, branch: Branch, length: int | None) -> None:
        """Sets how many tokens the branch may have after its prompt; None takes the codec's default length."""
        self._lengths[branch.name] = self.loaded_model.codec.length(length)

    def lengthen(self, branch: Branch, count: int) -> int:
        """Makes room for so many more tokens; returns the limit. A picture never becomes larger than it is."""
        if len(branch) >= self.limit(branch):
            most = self.loaded_model.codec.length(2**31)
            self._lengths[branch.name] = min(most, len(branch) + count - self.head(branch))
        return min(self.limit(branch), len(branch) + count)

    def head(self, branch: Branch) -> int:
        """The first position after the prompt: of what the model writes, or of the picture."""
        return head_of(branch, self.loaded_model.codec)

    def room(self, branch: Branch) -> range:
        """The positions that a person can change: all after the first token of a text, the values of a picture."""
        image, head = self.loaded_model.card.image, self.head(branch)
        return range(head, head + image.area) if image else range(1, 2**62)

    def title(self, branch: Branch, position: int) -> str:
        """What a position is, as in `token 14`, `next: token 15` or `pixel 413, row 12, column 28`."""
        name, image = place(branch, position, self.loaded_model.codec), self.loaded_model.card.image
        name = f"next: {name}" if position == len(branch) else name
        value = position - self.head(branch)
        if not image or value < 0:
            return name
        row, column, _ = image.place(value)
        return f"{name}, row {row}, column {column}"

    def _begin(self, start: BranchStart, length: int | None) -> Branch:
        branch = self.tree.begin(start)
        self._lengths[branch.name] = self.loaded_model.codec.length(length)
        self.journal.note_start(branch)
        return branch

    def _leave(self, branch: Branch, at: int, override: Tokens | None, params: SamplingParams, seed: int) -> Branch:
        if at not in self.room(branch):
            raise TuiGenError("there is no pixel to be drawn in another way")
        start = replace(branch.changed(at, override, seed=seed), params=params.checked())
        return self._begin(start, self._lengths.get(branch.name))
