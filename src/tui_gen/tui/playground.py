"""Beginning runs and branches, and what can be done with them: switch, compare, rename, delete."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from textual.app import ComposeResult

from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch
from tui_gen.images.codec import ImageCodec
from tui_gen.sampling.params import SamplingParams, new_seed
from tui_gen.sampling.sweep import Sweep
from tui_gen.sessions.workspace import Workspace
from tui_gen.tui.bindings import Context
from tui_gen.tui.widgets.knob_panel import KnobPanel
from tui_gen.tui.widgets.lists import Folding
from tui_gen.tui.widgets.next_token import NextToken
from tui_gen.tui.widgets.surprisal_panel import SurprisalPanel

if TYPE_CHECKING:
    from tui_gen.sessions.journal import Journal
    from tui_gen.tui.app import TuiGen
    from tui_gen.tui.dialogs.completion import Completion


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
            lambda workspace: workspace.begin(
                text, samples=dials.samples, params=dials.params, seed=dials.seed, length=dials.length
            )
        )

    async def sweep(self, text: str, knob: str) -> None:
        """The prompt at several values of a knob, with the same random numbers."""
        dials = self._desk.dials
        swept = knob if knob in {"temperature", "top_k", "top_p", "min_p"} else "temperature"
        await self._show(
            lambda workspace: workspace.sweep(text, swept, params=dials.params, seed=dials.seed, length=dials.length)
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
        await self._show(lambda workspace: workspace.otherwise(branch, at, sample, tokens, self._desk.dials.params))

    async def anew(self) -> None:
        """From the cursor on: with the knobs, if they were turned since; else with another seed."""
        branch, at, knobs = self._desk.stage.branch, self._desk.walking.at(), self._desk.dials.params
        if not branch or at is None:
            return
        turned = at < len(branch) and _plain(branch.params_at(at)) != _plain(knobs)
        seed = None if turned else new_seed()
        if await self._show(lambda workspace: workspace.anew(branch, at, knobs, seed)):
            self._desk.say("a new branch: " + (f"seed {seed}" if seed is not None else "same noise, knobs as they are"))

    def ask_for_word(self, begun: str) -> None:
        """What is to stand in the place of the token at the cursor; its first letter was typed already."""
        from tui_gen.tui.dialogs.dialog import Ask

        workspace = self._desk.stage.workspace
        assert workspace

        async def take(text: str | None) -> None:
            if text:
                await self.otherwise(workspace.tokens_of(text))

        self._desk.push_screen(Ask("instead of this token", begun, check=_complaint(workspace.tokens_of)), take)

    def hurry(self, typed: str) -> None:
        """A letter that came before the line that it belongs to had the focus."""
        from tui_gen.tui.dialogs.dialog import Ask

        if isinstance(self._desk.screen, Ask):
            self._desk.screen.take(typed)

    def ask_for_completion(self, text: str) -> None:
        """A picture to complete: a file, or the one on the stage with parts erased."""
        from tui_gen.tui.dialogs.completion import CompletionDialog

        stage, walking = self._desk.stage, self._desk.walking
        if not stage.workspace or not isinstance(stage.workspace.loaded_model.codec, ImageCodec):
            return
        present = stage.player.levels(walking.sample) if stage.player else None

        async def take(wanted: Completion | None) -> None:
            if wanted:
                dials = self._desk.dials
                await self._show(
                    lambda workspace: workspace.complete(
                        wanted.text, wanted.levels, samples=wanted.samples, params=dials.params, seed=dials.seed
                    )
                )

        self._desk.push_screen(CompletionDialog(stage.workspace.loaded_model.codec, present, text), take)

    async def switch(self, name: str) -> None:
        """Puts another branch on the stage."""
        self._doomed = ""
        workspace = self._desk.stage.workspace
        if workspace and name in workspace.tree:
            await self._desk.stage.show(workspace.tree[name])

    async def compare(self, name: str) -> None:
        """Shows a branch beside the one on the stage."""
        workspace, branch = self._desk.stage.workspace, self._desk.stage.branch
        if not workspace or not branch or name not in workspace.tree:
            return
        if name == branch.name:
            self._desk.say("that is the branch on the screen; choose another one to compare it with")
            return
        from tui_gen.tui.widgets.comparison import Comparison

        self._desk.compared = branch
        sample, rendering = self._desk.walking.sample, self._desk.rendering
        comparison = Comparison(branch, workspace.tree[name], workspace.loaded_model, sample, rendering)
        await self._desk.stage.put(comparison)
        comparison.focus()
        self._desk.stage.show_progress()
        self._desk.showing.everything()

    def rename(self, name: str) -> None:
        """Asks for another name."""
        from tui_gen.tui.dialogs.dialog import Ask

        workspace = self._desk.stage.workspace
        assert workspace

        def taken(text: str) -> str:
            return "there is such a branch already" if text.strip() != name and text.strip() in workspace.tree else ""

        def take(text: str | None) -> None:
            if text:
                workspace.tree.rename(name, text)
                self._desk.keeping.note_renamed(workspace.tree[text.strip()])
                self._desk.showing.everything()

        self._desk.push_screen(Ask("name of the branch", name, check=taken), take)

    async def delete(self, name: str) -> None:
        """Deletes a branch; the one on the stage gives its place to another one."""
        stage, workspace = self._desk.stage, self._desk.stage.workspace
        if not workspace or name not in workspace.tree:
            return
        if len(workspace.tree) == 1:
            self._desk.say("the only branch stays")
            return
        if name != self._doomed:
            self._doomed = name
            self._desk.say(f"del once more deletes branch {name}")
            return
        gone, self._doomed = workspace.tree[name], ""
        workspace.tree.delete(name)
        self._desk.keeping.note_deleted(gone)
        self._desk.say(f"branch {name} is deleted")
        if stage.branch is gone or stage.branch is None:
            near = gone.start.parent if gone.start.parent in workspace.tree else next(workspace.tree.rows()).branch.name
            await stage.show(workspace.tree[near])
            self._desk.branches.focus()
        self._desk.showing.everything()

    async def _show(self, begun: Callable[[Workspace], Branch]) -> bool:
        workspace = self._desk.stage.workspace
        if not workspace:
            return False
        try:
            branch = begun(workspace)
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


class Keeping:
    """Notes all that happens as it happens, so that nothing is lost with the screen; saves what a person wants kept."""

    def __init__(self, desk: TuiGen) -> None:
        self._desk = desk
        self._journals: WeakKeyDictionary[Workspace, Journal] = WeakKeyDictionary()
        self._told = False

    @property
    def journal(self) -> Journal | None:
        """Of what is done with the model on the screen."""
        workspace = self._desk.stage.workspace
        if workspace is None:
            return None
        if workspace not in self._journals:
            from tui_gen.sessions.journal import Journal

            self._journals[workspace] = Journal(workspace.loaded_model)
        return self._journals[workspace]

    def note_begun(self, branch: Branch) -> None:
        """A branch has begun."""
        if journal := self.journal:
            journal.begun(branch)
            self._tell_of_trouble(journal)

    def note_made(self, branch: Branch, *, resting: bool = False) -> None:
        """A branch has grown."""
        if journal := self.journal:
            journal.made(branch, now=resting)
            self._tell_of_trouble(journal)

    def note_shown(self, branch: Branch) -> None:
        """A branch is on the screen."""
        if journal := self.journal:
            journal.shown(branch)

    def note_renamed(self, branch: Branch) -> None:
        """A branch has another name."""
        if journal := self.journal:
            journal.renamed(branch)

    def note_deleted(self, branch: Branch) -> None:
        """A branch is gone."""
        if journal := self.journal:
            journal.deleted(branch)

    def close(self) -> None:
        """The screen goes away."""
        for journal in self._journals.values():
            journal.close()

    def save(self, first: str = "") -> None:
        """Asks where to, and writes what is on the screen; the name's ending says as what.

        first: the ending that is proposed; without it, that of the output.
        """
        from tui_gen.output.branch_file import forms_of, write_output
        from tui_gen.tui.dialogs.save import SaveDialog

        stage = self._desk.stage
        branch, workspace, journal = stage.branch, stage.workspace, self.journal
        if not branch or not workspace or not journal:
            return

        forms = sorted(forms_of(workspace.loaded_model).items(), key=lambda form: form[0] != first)

        def take(path: Path | None) -> None:
            if path is None:
                return
            try:
                write_output(path, workspace.loaded_model, branch, journal.save)
            except TuiGenError as fault:
                self._desk.complain(str(fault))
            else:
                self._desk.say(f"saved as {path}")

        self._desk.push_screen(SaveDialog(workspace.loaded_model.card.name, dict(forms)), take)

    def show_command(self) -> None:
        """The command that makes again what is on the screen."""
        from tui_gen.library import find_models
        from tui_gen.output.branch_file import SESSION
        from tui_gen.sessions.command import command_for
        from tui_gen.tui.dialogs.save import CommandDialog

        stage = self._desk.stage
        if not stage.branch or not stage.workspace:
            return
        loaded_model = stage.workspace.loaded_model
        installed = any(entry.path == loaded_model.path for entry in find_models())
        found = command_for(loaded_model.path.name if installed else str(loaded_model.path), loaded_model, stage.branch)

        def take(choice: str | None) -> None:
            if choice == "copy" and found.command:
                self._copy(found.command, "the command")
            elif choice == "save":
                self.save(SESSION)

        self._desk.push_screen(CommandDialog(found.command or "", found.reason), take)

    def copy(self) -> None:
        """What was made, to the clipboard of the terminal, also over SSH."""
        from tui_gen.output.branch_file import clipboard_text

        stage = self._desk.stage
        if stage.branch and stage.workspace:
            text, what = clipboard_text(stage.branch, stage.workspace.loaded_model, self._desk.walking.sample)
            self._copy(text, what)

    def _copy(self, text: str, what: str) -> None:
        self._desk.copy_to_clipboard(text)
        self._desk.say(f"copied {what} (through the terminal, which must allow it)")

    def _tell_of_trouble(self, journal: Journal) -> None:
        if journal.fault and not self._told:
            self._told = True
            self._desk.complain(journal.fault)


class Showing:
    """Looks at the parts of the screen and tells others of them."""

    def __init__(self, desk: TuiGen) -> None:
        self._desk = desk
        self._placed = ("", "")

    def everything(self) -> None:
        """Knobs, branches and keys, after something else has come on the stage."""
        desk = self._desk
        self.knobs()
        if desk.loaded_model and desk.stage.workspace:
            name = desk.stage.branch.name if desk.stage.branch else ""
            desk.branches.show(desk.stage.workspace.tree, name, desk.loaded_model.codec)

    def facts(self) -> None:
        """The model, in the first line."""
        desk = self._desk
        if desk.loaded_model:
            card, self._placed = desk.loaded_model.card, desk.loaded_model.model.placed
            desk.header.show(card.name, card.architecture, *self._placed)

    def device(self) -> None:
        """Where the model runs, if that has changed, and what went wrong there."""
        model = self._desk.loaded_model.model if self._desk.loaded_model else None
        if model is None or (model.placed == self._placed and not model.has_news):
            return
        for line in model.news():
            self._desk.say(line, severity="warning")
        self.facts()

    def knobs(self) -> None:
        """Where the knobs stand."""
        desk = self._desk
        if desk.loaded_model:
            desk.knobs.show(desk.dials.values(), changed_for_next=desk.stage.changed_for_next())
        self.summary()
        self.keys()

    def summary(self) -> None:
        """Where the knobs have no room, the prompt's frame says the most important of them."""
        desk = self._desk
        place = desk.next_token.title if desk.walking.cursor else ""
        facts = (place, f"{desk.dials.params.temperature:.2f}", f"seed {desk.dials.seed}", desk.knobs.progress)
        said = "" if desk.side.display else "  ".join(fact for fact in facts if fact)
        if desk.prompt_line.border_subtitle != said:  # the same again would draw the prompt again
            desk.prompt_line.border_subtitle = said

    def keys(self) -> None:
        """What the keys do now."""
        self._desk.key_bar.show(self.context())

    def context(self) -> Context:
        """What a person is doing."""
        desk, stage = self._desk, self._desk.stage
        focused, branch = desk.focused, stage.branch
        return Context(
            running=stage.running,
            paused=stage.paused,
            unfinished=stage.can_grow,
            walking=desk.walking.cursor is not None,
            in_prompt=focused is desk.prompt_line,
            in_list=focused is desk.models,
            in_branches=focused is desk.branches,
            in_panel=focused is desk.next_token,
            in_knobs=focused is desk.knobs,
            in_surprise=desk.side.surprise.has_focus_within,
            several=branch is not None and branch.samples > 1,
            drawing=desk.loaded_model is not None and desk.loaded_model.card.image is not None,
            made=branch is not None,
            comparing=bool(stage.query("Comparison")),
        )


class Side(Folding):
    """Passes on what is chosen, turned and typed there."""

    def __init__(self, desk: TuiGen) -> None:
        super().__init__(id="side")
        self._desk = desk
        self.next_token, self.surprise, self.knobs = NextToken(), SurprisalPanel(), KnobPanel()
        self.surprise.display = False

    def compose(self) -> ComposeResult:
        """One panel above, the knobs below."""
        yield self.next_token
        yield self.surprise
        yield self.knobs

    async def on_next_token_chosen(self, message: NextToken.Chosen) -> None:
        """Another token is to stand at the cursor."""
        await self._desk.branching.otherwise([message.token])

    def on_surprisal_panel_chosen(self, message: SurprisalPanel.Chosen) -> None:
        """One of the most surprising tokens: the cursor goes there."""
        self._desk.walking.to(message.position)

    def on_knob_panel_turned(self, message: KnobPanel.Turned) -> None:
        """A knob was turned."""
        self.turn(message.name, message.direction)

    def on_knob_panel_reset(self, message: KnobPanel.Reset) -> None:
        """A knob goes back to its default."""
        self._desk.dials.reset(message.name)
        self.obey(message.name)

    def on_knob_panel_typed(self, message: KnobPanel.Typed) -> None:
        """A value was typed."""
        try:
            self._desk.dials.type(message.name, message.text)
        except TuiGenError as fault:
            self._desk.complain(str(fault))
        self.obey(message.name)

    def turn(self, name: str, direction: int) -> None:
        """One step of a knob."""
        if self._desk.loaded_model:
            self._desk.dials.turn(name, direction)
            self.obey(name)

    def obey(self, knob: str) -> None:
        """A knob stands elsewhere now."""
        self._desk.stage.obey(knob)
        self._desk.showing.knobs()
