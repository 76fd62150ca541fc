"""An open model, its tree of branches, its journal, and every operation on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np

from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch, BranchStart
from tui_gen.generation.describe import head_of, place
from tui_gen.generation.surgery import Intervention, Take
from tui_gen.generation.tree import Tree
from tui_gen.images.codec import ImageCodec
from tui_gen.images.completion import completion_prompt
from tui_gen.images.picture import first_pixel
from tui_gen.library import LoadedModel
from tui_gen.sampling.knobs import SHOWN
from tui_gen.sampling.params import FREE, SamplingParams, Tokens, new_seed
from tui_gen.sampling.sweep import Sweep, default_values
from tui_gen.scoring.comparison import ModelBranch, ModelComparison, check_comparable
from tui_gen.sessions.file import session_model
from tui_gen.sessions.journal import Journal
from tui_gen.sessions.replay import Replay
from tui_gen.sessions.session import SessionModel
from tui_gen.text.codec import TextCodec


class Workspace:
    """What is done with one model: each operation changes the tree and is written to the journal."""

    def __init__(
        self,
        loaded_model: LoadedModel,
        *,
        tree: Tree | None = None,
        folder: Path | None = None,
        journal: Journal | None = None,
    ) -> None:
        """folder: where the journal is kept, in place of the user's own. journal: that of another model's workspace, of
        which this one is a companion.
        """
        self.loaded_model = loaded_model
        self.tree = Tree(loaded_model.model) if tree is None else tree
        self.journal = journal or Journal(loaded_model, folder=folder)
        self._is_companion = journal is not None
        self._companions: dict[SessionModel, Workspace] = {}
        self._beside: dict[Branch, dict[Workspace, Branch]] = {}
        """Of each branch, those of other models that ever stood beside it."""
        self._columns: dict[Branch, list[Workspace]] = {}
        """Of each branch, whose stand beside it now."""
        self._comparisons: dict[Branch, ModelComparison] = {}
        self.shown = ""
        """The name of the branch that a person looked at last."""
        self.unattended: Branch | None = None
        """What the screen began by itself."""
        self._lengths: dict[str, int] = {}
        self._fault = ""

    @classmethod
    def of_replay(cls, loaded_model: LoadedModel, replay: Replay) -> Self:
        """Goes on with a session that was made again."""
        workspace = cls(loaded_model, tree=replay.tree)
        others = {index: model for index, model in replay.models.items() if index}
        workspace.journal.take_over(replay.session, replay.branches, others)
        companions = {index: workspace._companion(model, tree=replay.trees[index]) for index, model in others.items()}
        for record in replay.session.living():
            for other in replay.session.compared(record)[1:]:
                if record.number in replay.branches and other.number in replay.branches:
                    branch, companion = replay.branches[record.number], companions[other.model]
                    workspace._stand_beside(branch, companion, replay.branches[other.number])
        return workspace

    def start(self, text: str, *, samples: int, params: SamplingParams, seed: int, length: int | None) -> Branch:
        """A branch from a prompt. Raises TuiGenError that names what the model does not know."""
        prompt = self.loaded_model.codec.prompt([text] * samples)
        return self._begin(BranchStart(prompt, seed, params.checked(), text=text), length)

    def read(self, text: str, name: str, *, params: SamplingParams, seed: int) -> Branch:
        """A branch that is a text which nobody here has written: it ends where the text does, and may go on from there.

        name: of the branch, if no other one has it. Raises TuiGenError that names what the model does not know.
        """
        prompt = self.loaded_model.codec.prompt([text])
        start = BranchStart(prompt, seed, params.checked(), text=text)
        return self._begin(start, 0, name if name not in self.tree else "")

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

    def operate(self, branch: Branch, position: int, *interventions: Intervention) -> Branch:
        """A branch that goes on from a token with the same knobs and the same random numbers, but before that token is
        read something is done to the model's state.

        Raises TuiGenError where nothing can follow, for what the state does not have, and for a branch whose state
        cannot be taken.
        """
        for take in interventions:
            if isinstance(take, Take) and take.donor not in [row.branch for row in self.tree.rows()]:
                raise TuiGenError(f"branch {take.donor.name} is not among those of {self.loaded_model.card.name}")
        start = branch.operated(position, *interventions)
        if start.at not in self.room(branch):
            raise TuiGenError("nothing is drawn after this pixel that could become another one")
        return self._begin(start, self._lengths.get(branch.name))

    def compare(self, branch: Branch, loaded_model: LoadedModel) -> tuple[Workspace, Branch]:
        """A branch of another model beside one of this tree, from the same prompt with the same random numbers.

        Seed, samples, knobs at the start, what is swept and the length are the branch's. Returns the other model's
        workspace, which keeps this one's journal, and the branch there: what that model made beside this branch before,
        if it did. Raises TuiGenError for the model itself and those that stand there already, for models that cannot be
        compared, for a branch that left another one, and for a prompt that the model does not know.
        """
        if session_model(loaded_model) == session_model(self.loaded_model):
            raise TuiGenError(f"{loaded_model.card.name} is this model itself; choose another one to compare it with")
        companion = self._companion(loaded_model)
        if companion in self._columns.get(branch, []):
            raise TuiGenError(f"{loaded_model.card.name} stands beside it already")
        check_comparable([*(column.loaded_model for column, _ in self.columns(branch)), loaded_model])
        other = self._beside.get(branch, {}).get(companion)
        if other is None:
            other = companion._begin_beside(self, branch)
        self._stand_beside(branch, companion, other)
        self.journal.note_comparison([each for _, each in self.columns(branch)])
        return companion, other

    def columns(self, branch: Branch) -> list[tuple[Workspace, Branch]]:
        """What stands beside a branch now, with the workspaces of its models: itself, then those of other models."""
        beside = [(column, self._beside[branch][column]) for column in self._columns.get(branch, [])]
        return [(self, branch), *beside]

    def comparison(self, branch: Branch) -> ModelComparison | None:
        """The branch with those that stand beside it, always the same while they stay; None if it is alone."""
        columns = self.columns(branch)
        if len(columns) > 1 and branch not in self._comparisons:
            sides = [ModelBranch(workspace.loaded_model, each) for workspace, each in columns]
            self._comparisons[branch] = ModelComparison(*sides)
        return self._comparisons.get(branch)

    def separate(self, branch: Branch) -> None:
        """The branch stands alone again. What other models made beside it stays, for the next comparison with them."""
        self._columns.pop(branch, None)
        self._comparisons.pop(branch, None)
        self.journal.note_comparison([branch])

    def rename(self, name: str, other: str) -> None:
        """Renames a branch and those beside it. Raises TuiGenError for a name that is taken or empty."""
        branch = self.tree[name]
        self.tree.rename(name, other)
        self.shown = branch.name if self.shown == name else self.shown
        self.journal.note_rename(branch)
        for companion, each in self._beside.get(branch, {}).items():
            if branch.name not in companion.tree:
                companion.rename(each.name, branch.name)

    def complaint_about_name(self, name: str, other: str) -> str:
        """Why a branch cannot be renamed so; empty if it can."""
        other = other.strip()
        return "there is such a branch already" if other != name and other in self.tree else ""

    def delete(self, name: str) -> Branch:
        """Deletes a branch, with those of other models beside it; returns the nearest that stays, to be shown instead.

        Raises TuiGenError for the only one.
        """
        if len(self.tree) == 1:
            raise TuiGenError("the only branch stays")
        branch = self._delete(name)
        parent = branch.start.parent
        near = self.tree[parent] if parent in self.tree else next(self.tree.rows()).branch
        self.shown = near.name if self.shown == name else self.shown
        return near

    def _delete(self, name: str) -> Branch:
        branch = self.tree[name]
        self.tree.delete(name)
        self.journal.note_deletion(branch)
        self._columns.pop(branch, None)
        self._comparisons.pop(branch, None)
        for companion, each in self._beside.pop(branch, {}).items():
            companion._delete(each.name)
        return branch

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

    def retire(self) -> None:
        """Closes it for good, as others have taken its place: what nobody asked for is forgotten."""
        self.close()
        if [row.branch for row in self.tree.rows()] == [self.unattended]:
            self.journal.discard()

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

    def _begin(self, start: BranchStart, length: int | None, name: str = "") -> Branch:
        branch = self.tree.begin(start, name)
        self._lengths[branch.name] = self.loaded_model.codec.length(length)
        self.journal.note_start(branch, self.loaded_model if self._is_companion else None)
        return branch

    def _companion(self, loaded_model: LoadedModel, tree: Tree | None = None) -> Workspace:
        """The workspace of another model that keeps this one's journal, always the same."""
        model = session_model(loaded_model)
        if model not in self._companions:
            self._companions[model] = Workspace(loaded_model, tree=tree, journal=self.journal)
        return self._companions[model]

    def _stand_beside(self, branch: Branch, companion: Workspace, other: Branch) -> None:
        self._beside.setdefault(branch, {})[companion] = other
        self._columns.setdefault(branch, []).append(companion)
        self._comparisons.pop(branch, None)

    def _begin_beside(self, first: Workspace, branch: Branch) -> Branch:
        """A branch as one of another model began."""
        start = branch.start
        if start.parent or start.at > 1 or branch.operations:
            raise TuiGenError("it left another branch; compare the one that it comes from")
        prompt = self.loaded_model.codec.prompt([start.text] * branch.samples)
        prompt = np.concatenate([prompt, self._pixels_of(first.loaded_model, start.prompt)], axis=1)
        name = branch.name if branch.name not in self.tree else ""
        return self._begin(replace(start, prompt=prompt), first._lengths.get(branch.name), name)

    def _pixels_of(self, other: LoadedModel, prompt: Tokens) -> Tokens:
        """[samples, n]: the part of another model's prompt that is a picture to complete, if it has one."""
        image, own = other.card.image, self.loaded_model.card.image
        pixels = prompt[:, first_pixel(prompt, image) :] if image else prompt[:, :0]
        if image and own and pixels.size and (image.shape, image.colours()) != (own.shape, own.colours()):
            name = self.loaded_model.card.name
            raise TuiGenError(f"{name} has other levels, so it cannot complete a picture of {other.card.name}")
        return pixels

    def _leave(self, branch: Branch, at: int, override: Tokens | None, params: SamplingParams, seed: int) -> Branch:
        if at not in self.room(branch):
            raise TuiGenError("there is no pixel to be drawn in another way")
        start = replace(branch.changed(at, override, seed=seed), params=params.checked())
        return self._begin(start, self._lengths.get(branch.name))
