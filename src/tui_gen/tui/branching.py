"""Beginning runs and branches, and what can be done with them: switch, compare, rename, delete."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from tui_gen.branch import Branch
from tui_gen.codec import ImageCodec
from tui_gen.errors import TuiGenError
from tui_gen.options import new_seed
from tui_gen.sampling import SamplingParams
from tui_gen.sitting import Sitting
from tui_gen.sweep import Sweep

if TYPE_CHECKING:
    from tui_gen.tui.app import TuiGen
    from tui_gen.tui.completing import Completion


class Branching:
    """Turns what a person asks for into branches on the stage; what cannot be is told in a line."""

    def __init__(self, desk: TuiGen) -> None:
        self._desk = desk
        self._doomed = ""
        """The branch that goes when it is to be deleted once more."""

    async def begin(self, text: str) -> bool:
        """A run from a prompt; False if there is none."""
        dials = self._desk.dials
        return await self._show(
            lambda sitting: sitting.begin(
                text, samples=dials.samples, params=dials.params, seed=dials.seed, length=dials.length
            )
        )

    async def sweep(self, text: str, knob: str) -> None:
        """The prompt at several values of a knob, with the same random numbers."""
        dials = self._desk.dials
        swept = knob if knob in {"temperature", "top_k", "top_p", "min_p"} else "temperature"
        await self._show(
            lambda sitting: sitting.sweep(text, swept, params=dials.params, seed=dials.seed, length=dials.length)
        )

    async def otherwise(self, tokens: list[int]) -> None:
        """Another choice at the cursor."""
        branch, at = self._desk.stage.branch, self._desk.walking.at()
        if not branch or at is None:
            return
        sample = self._desk.walking.sample
        if at < len(branch) and tokens == [branch.tokens[at, sample]]:
            self._desk.say("that is what stands there already")
            return
        await self._show(lambda sitting: sitting.otherwise(branch, at, sample, tokens, self._desk.dials.params))

    async def anew(self) -> None:
        """From the cursor on: with the knobs, if they were turned since; else with another seed."""
        branch, at, knobs = self._desk.stage.branch, self._desk.walking.at(), self._desk.dials.params
        if not branch or at is None:
            return
        turned = at < len(branch) and _plain(branch.params_at(at)) != _plain(knobs)
        seed = None if turned else new_seed()
        if await self._show(lambda sitting: sitting.anew(branch, at, knobs, seed)):
            self._desk.say("a new branch: " + (f"seed {seed}" if seed is not None else "same noise, knobs as they are"))

    def ask_for_word(self, begun: str) -> None:
        """What is to stand in the place of the token at the cursor; its first letter was typed already."""
        from tui_gen.tui.asking import Ask

        sitting = self._desk.stage.sitting
        assert sitting

        async def take(text: str | None) -> None:
            if text:
                await self.otherwise(sitting.tokens_of(text))

        self._desk.push_screen(Ask("instead of this token", begun, check=_complaint(sitting.tokens_of)), take)

    def hurry(self, typed: str) -> None:
        """A letter that came before the line that it belongs to had the focus."""
        from tui_gen.tui.asking import Ask

        if isinstance(self._desk.screen, Ask):
            self._desk.screen.take(typed)

    def ask_for_completion(self, text: str) -> None:
        """A picture to complete: a file, or the one on the stage with parts erased."""
        from tui_gen.tui.completing import CompletionDialog

        stage, walking = self._desk.stage, self._desk.walking
        if not stage.sitting or not isinstance(stage.sitting.playable.codec, ImageCodec):
            return
        present = stage.player.levels(walking.sample) if stage.player else None

        async def take(wanted: Completion | None) -> None:
            if wanted:
                dials = self._desk.dials
                await self._show(
                    lambda sitting: sitting.complete(
                        wanted.text, wanted.levels, samples=wanted.samples, params=dials.params, seed=dials.seed
                    )
                )

        self._desk.push_screen(CompletionDialog(stage.sitting.playable.codec, present, text), take)

    async def switch(self, name: str) -> None:
        """Puts another branch on the stage."""
        self._doomed = ""
        sitting = self._desk.stage.sitting
        if sitting and name in sitting.tree:
            await self._desk.stage.show(sitting.tree[name])

    async def compare(self, name: str) -> None:
        """Shows a branch beside the one on the stage."""
        sitting, branch = self._desk.stage.sitting, self._desk.stage.branch
        if not sitting or not branch or name not in sitting.tree:
            return
        if name == branch.name:
            self._desk.say("that is the branch on the screen; choose another one to compare it with")
            return
        from tui_gen.tui.comparison import Comparison

        self._desk.compared = branch
        sample, rendering = self._desk.walking.sample, self._desk.rendering
        comparison = Comparison(branch, sitting.tree[name], sitting.playable, sample, rendering)
        await self._desk.stage.put(comparison)
        comparison.focus()
        self._desk.stage.show_progress()
        self._desk.showing.everything()

    def rename(self, name: str) -> None:
        """Asks for another name."""
        from tui_gen.tui.asking import Ask

        sitting = self._desk.stage.sitting
        assert sitting

        def taken(text: str) -> str:
            return "there is such a branch already" if text.strip() != name and text.strip() in sitting.tree else ""

        def take(text: str | None) -> None:
            if text:
                sitting.tree.rename(name, text)
                self._desk.keeping.note_renamed(sitting.tree[text.strip()])
                self._desk.showing.everything()

        self._desk.push_screen(Ask("name of the branch", name, check=taken), take)

    async def delete(self, name: str) -> None:
        """Deletes a branch; the one on the stage gives its place to another one."""
        stage, sitting = self._desk.stage, self._desk.stage.sitting
        if not sitting or name not in sitting.tree:
            return
        if len(sitting.tree) == 1:
            self._desk.say("the only branch stays")
            return
        if name != self._doomed:
            self._doomed = name
            self._desk.say(f"del once more deletes branch {name}")
            return
        gone, self._doomed = sitting.tree[name], ""
        sitting.tree.delete(name)
        self._desk.keeping.note_deleted(gone)
        self._desk.say(f"branch {name} is deleted")
        if stage.branch is gone or stage.branch is None:
            near = gone.begun.parent if gone.begun.parent in sitting.tree else next(sitting.tree.twigs()).branch.name
            await stage.show(sitting.tree[near])
            self._desk.branches.focus()
        self._desk.showing.everything()

    async def _show(self, begun: Callable[[Sitting], Branch]) -> bool:
        sitting = self._desk.stage.sitting
        if not sitting:
            return False
        try:
            branch = begun(sitting)
        except TuiGenError as fault:
            self._desk.complain(str(fault))
            return False
        self._desk.keeping.note_begun(branch)
        await self._desk.stage.show(branch, go=True)
        return True


def _plain(params: SamplingParams) -> SamplingParams:
    """The knobs of a sweep without the swept one's values."""
    return params.column(0) if isinstance(params, Sweep) else replace(params)


def _complaint(check: Callable[[str], object]) -> Callable[[str], str]:
    def complain(text: str) -> str:
        try:
            check(text)
        except TuiGenError as fault:
            return str(fault)
        return ""

    return complain
