"""What a person does with one model: runs, branches, completions and sweeps, all in one tree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch, BranchStart
from tui_gen.generation.describe import place
from tui_gen.generation.tree import Tree
from tui_gen.images.codec import ImageCodec
from tui_gen.images.completion import completion_prompt
from tui_gen.images.picture import first_pixel
from tui_gen.library import LoadedModel
from tui_gen.sampling.params import FREE, SamplingParams, Tokens
from tui_gen.sampling.sweep import Sweep, default_values
from tui_gen.text.codec import TextCodec


class Workspace:
    """Begins branches; knows how long each may become and what stands where in it."""

    def __init__(self, loaded_model: LoadedModel, tree: Tree | None = None) -> None:
        self.loaded_model = loaded_model
        self.tree = Tree(loaded_model.model) if tree is None else tree
        self.shown = ""
        """The branch that was on the screen last."""
        self._lengths: dict[str, int] = {}

    def begin(self, text: str, *, samples: int, params: SamplingParams, seed: int, length: int | None) -> Branch:
        """A run from a prompt. Raises TuiGenError that names what the model does not know."""
        prompt = self.loaded_model.codec.prompt([text] * samples)
        return self._begun(BranchStart(prompt, seed, params.checked(), text=text), length)

    def sweep(self, text: str, knob: str, *, params: SamplingParams, seed: int, length: int | None) -> Branch:
        """The same prompt at several values of a knob, with the same random numbers."""
        sweep = Sweep(knob, default_values(knob, params, self.loaded_model.card.vocab_size)).checked(params)
        prompt = self.loaded_model.codec.prompt([text] * len(sweep))
        return self._begun(BranchStart(prompt, seed, replace(params), text=text, sweep=sweep), length)

    def complete(self, text: str, levels: Tokens, *, samples: int, params: SamplingParams, seed: int) -> Branch:
        """Draws what is FREE of a picture [height, width(, 3)], so many times."""
        codec = self.loaded_model.codec
        if not isinstance(codec, ImageCodec):
            raise TuiGenError(f"{self.loaded_model.card.name} writes text; there is no picture to complete")
        prompt = completion_prompt(codec, text, levels, samples)
        return self._begun(BranchStart(prompt, seed, params.checked(), text=text), None)

    def otherwise(self, branch: Branch, at: int, sample: int, tokens: list[int], params: SamplingParams) -> Branch:
        """A branch in which other tokens stand from a position on, in one sample. Raises TuiGenError."""
        if not tokens:
            raise TuiGenError("type what is to stand there")
        override = np.full((branch.samples, len(tokens)), FREE, dtype=np.int64)
        override[sample] = tokens
        return self._left(branch, at, override, params, branch.start.seed)

    def anew(self, branch: Branch, at: int, params: SamplingParams, seed: int | None = None) -> Branch:
        """A branch that goes on from before a position with the knobs as they are, and another seed if one is given."""
        return self._left(branch, at, None, params, branch.start.seed if seed is None else seed)

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
        return max(
            len(branch), self.head(branch) + self._lengths.get(branch.name, self.loaded_model.codec.length(None))
        )

    def set_length(self, branch: Branch, length: int | None) -> None:
        """Lets it become so long, of what it is told to make in all."""
        self._lengths[branch.name] = self.loaded_model.codec.length(length)

    def lengthen(self, branch: Branch, count: int) -> None:
        """Lets it become longer by so many tokens than it is; a picture never becomes larger than it is."""
        most = self.loaded_model.codec.length(2**31)
        self._lengths[branch.name] = min(most, len(branch) + count - self.head(branch))

    def head(self, branch: Branch) -> int:
        """The first position after the prompt: of what the model writes, or of the picture."""
        image = self.loaded_model.card.image
        return first_pixel(branch.start.prompt, image) if image else branch.head

    def room(self, branch: Branch) -> range:
        """The positions that a person can change: all after the first token of a text, the values of a picture."""
        image, head = self.loaded_model.card.image, self.head(branch)
        return range(head, head + image.area) if image else range(1, 2**62)

    def title(self, branch: Branch, position: int) -> str:
        """What a position is, as in `token 14` or `pixel 412, row 12, column 28`."""
        name, image = place(branch, position, self.loaded_model.codec), self.loaded_model.card.image
        number = position - self.head(branch)
        if not image or number < 0:
            return name
        row, column, _ = image.place(number)
        return f"{name}, row {row}, column {column}"

    def _begun(self, start: BranchStart, length: int | None) -> Branch:
        branch = self.tree.begin(start)
        self._lengths[branch.name] = self.loaded_model.codec.length(length)
        return branch

    def _left(self, branch: Branch, at: int, override: Tokens | None, params: SamplingParams, seed: int) -> Branch:
        if at not in self.room(branch):
            raise TuiGenError("there is no pixel to be drawn in another way")
        if branch.start.sweep:
            branch.start.sweep.checked(params)
        else:
            params.checked()
        child = self.tree.begin(branch.changed(at, override, seed=seed, params=replace(params)))
        self._lengths[child.name] = self._lengths.get(branch.name, self.loaded_model.codec.length(None))
        return child
