"""The playground: composes the widgets, answers their messages, and does what the keys ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.screen import Screen

from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch
from tui_gen.generation.pacing import Throttle
from tui_gen.images.codec import ImageCodec
from tui_gen.images.raster import RENDERING_NAMES
from tui_gen.library import Entry
from tui_gen.sessions.workspace import Workspace
from tui_gen.tui.bindings import Context, bindings_of, is_bound, works
from tui_gen.tui.knob_state import KnobState, Settings
from tui_gen.tui.model_loader import ModelLoader, ModelOpened, ModelRefused, ReplayEnded, ReplayProgress
from tui_gen.tui.widgets.header import Header, KeyBar, about_text
from tui_gen.tui.widgets.knob_panel import KnobPanel
from tui_gen.tui.widgets.lists import BranchList, ModelList, Sidebar
from tui_gen.tui.widgets.next_token import NextToken
from tui_gen.tui.widgets.output import Output
from tui_gen.tui.widgets.prompt import Prompt
from tui_gen.tui.widgets.run_view import BEHIND, RunView
from tui_gen.tui.widgets.side import Side
from tui_gen.tui.widgets.surprisal_panel import SurprisalPanel

if TYPE_CHECKING:
    from tui_gen.tui.dialogs.completion import Completion

_PANELS_PER_SECOND = 4
"""How often the panels are drawn while a run goes on, at most: nobody reads numbers that change with every token."""


class PlaygroundScreen(Screen[None]):
    """One model, its branches, one of them in the middle, and what can be said of a position of it."""

    BINDINGS: ClassVar[list[BindingType]] = bindings_of("screen")

    def __init__(self, settings: Settings, entries: Sequence[Entry], workspaces: dict[Path, Workspace]) -> None:
        """workspaces: of the models that were played, by their folders; grows."""
        super().__init__()
        self.settings = settings
        self.knobs = KnobState(settings.params, samples=settings.samples, seed=settings.seed, length=settings.length)
        self.workspace: Workspace | None = None
        self.loader = ModelLoader(settings, workspaces)
        self.header, self.prompt, self.key_bar = Header(), Prompt(""), KeyBar()
        self.models, self.branches = ModelList(entries), BranchList()
        self.lists = Sidebar(self.models, self.branches, id="lists")
        self.output, self.side = Output(), Side(self.knobs.params)
        self.panels = Throttle(self._draw_panels, self.set_timer, rate=_PANELS_PER_SECOND)
        self._frame: RunView.Advanced | None = None
        """The newest, for the panels."""
        self._prompts: dict[Path, str] = {}
        self._generate_when_open = False

    def compose(self) -> ComposeResult:
        """Header, three columns, prompt, keys."""
        yield self.loader
        yield self.header
        with Horizontal(id="body"):
            yield self.lists
            yield self.output
            yield self.side
        yield self.prompt
        yield self.key_bar

    def on_mount(self) -> None:
        """Opens the first model; the prompt has the focus."""
        self.prompt.value = self.settings.prompt
        self.prompt.focus()
        self._load(self.settings.folder)

    # --- what is on the screen ---

    @property
    def run_view(self) -> RunView | None:
        """The branch in the middle; None while a model's card or a comparison stands there."""
        return self.output.run_view

    @property
    def context(self) -> Context:
        """What a person is doing."""
        view, focus = self.run_view, self.focused
        return Context(
            running=view is not None and view.running,
            paused=view is not None and view.paused,
            unfinished=view is not None and view.can_grow,
            walking=view is not None and view.cursor is not None,
            in_prompt=focus is self.prompt,
            in_list=focus is self.models,
            in_branches=focus is self.branches,
            in_panel=focus is self.side.next_token,
            in_knobs=focus is self.side.knobs,
            in_surprisal=self.side.surprisal.has_focus_within,
            several=view is not None and view.branch.samples > 1,
            drawing=self.workspace is not None and self.workspace.loaded_model.card.image is not None,
            made=view is not None,
            comparing=self.output.compared is not None,
        )

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leaves keys to lists and panels where they mean something there."""
        return works(action, parameters, self.context)

    def _succeeds(self, operation: Callable[[], object]) -> bool:
        """Does something that may raise TuiGenError, which is told then."""
        try:
            operation()
        except TuiGenError as fault:
            self.notify(str(fault), severity="error")
            return False
        return True

    async def show(self, branch: Branch, *, start: bool = False) -> None:
        """Puts a branch in the middle, and lets it grow if it is told to."""
        workspace = self.workspace
        assert workspace
        view = await self.output.show_branch(workspace, branch, self.knobs.params)
        self.set_class(branch.start.sweep is not None, "-sweeping")
        if start:
            view.start(self.knobs.rate)
        self.side.attend(view)
        self.show_state()

    def show_state(self) -> None:
        """Knobs, progress, branches and keys as they are."""
        if not self.workspace:
            return
        view = self.run_view
        later = self.knobs.later(view.branch) if view and view.running else set()
        self.side.knobs.show(self.knobs.values(), changed_for_next=later)
        self.show_progress()
        self.branches.show(self.workspace, view.branch.name if view else "")
        self.key_bar.show(self.context)

    def show_progress(self) -> None:
        """How far the run is; where the knobs have no room, the prompt's frame says the most important of them."""
        view = self.run_view
        self.side.knobs.show_progress(view.progress() if view else "")
        place = self.side.next_token.title if view and view.cursor else ""
        facts = (place, f"{self.knobs.params.temperature:.2f}", f"seed {self.knobs.seed}", self.side.knobs.progress)
        summary = "" if self.side.display else "  ".join(fact for fact in facts if fact)
        if self.prompt.border_subtitle != summary:  # the same again would draw the prompt again
            self.prompt.border_subtitle = summary

    def show_device(self) -> None:
        """Where the model runs, if that has changed, and what went wrong there."""
        if self.workspace and self.header.show_model(self.workspace.loaded_model):
            for warning in self.workspace.loaded_model.model.take_warnings():
                self.notify(warning, severity="warning")

    # --- models ---

    def open(self, folder: Path) -> None:
        """Opens a model beside the screen; the one that plays goes on."""
        playing = self.workspace.loaded_model.path if self.workspace else None
        if folder != (self.loader.folder or playing):
            self._load(folder)

    def _load(self, folder: Path) -> None:
        self.header.show(f"opening {folder.name} ...")
        self.loader.open(folder)

    async def on_model_refused(self, message: ModelRefused) -> None:
        """A model that cannot be opened; what is on the screen stays."""
        self._generate_when_open = False
        self.notify(message.fault, severity="error")
        if self.workspace:
            self.header.show_model(self.workspace.loaded_model)
        else:
            await self.output.show_card(f"{message.fault}\n\nChoose another model with f3.")

    async def on_model_opened(self, message: ModelOpened) -> None:
        """A model is ready; its card is shown until it runs."""
        await self.serve(message.workspace)
        if message.session:
            await self.output.show_card("making the session again ...")
        await self._generate_if_asked()

    async def _generate_if_asked(self) -> None:
        if self._generate_when_open and not self.loader.folder:
            self._generate_when_open = False
            await self.action_generate()

    async def serve(self, workspace: Workspace) -> None:
        """Lets a model be played; what was done with it before is there again."""
        loaded_model = workspace.loaded_model
        if before := self.workspace:
            self._prompts[before.loaded_model.path] = self.prompt.value
            self.prompt.value = self._prompts.get(loaded_model.path, "")
        self.workspace = workspace
        self.knobs.serve(loaded_model.card, self.settings.temperature)
        self.side.attend(None)
        await self.output.show_card(about_text(loaded_model))
        self.prompt.serve(loaded_model.codec, loaded_model.card.prompt_example)
        self.models.mark(loaded_model.path.name)
        self.side.next_token.clear(loaded_model.codec)
        self.side.knobs.serve(self.knobs.table)
        self.header.show_model(loaded_model)
        self.show_state()
        if workspace.shown in workspace.tree:
            await self.show(workspace.tree[workspace.shown])
            self.prompt.focus()

    def on_replay_progress(self, message: ReplayProgress) -> None:
        """Says how far it is."""
        self.header.show(f"making the session again: {message.done:,} of {message.total:,} tokens")

    async def on_replay_ended(self, message: ReplayEnded) -> None:
        """Goes on with the branches that were made again, with the knobs as they were left."""
        self.workspace, replay, session = message.workspace, message.replay, message.session
        self.header.show_model(self.workspace.loaded_model)
        branch = replay.branches.get(session.chosen.number)
        if branch is None or branch.name not in replay.tree:
            branch = next((row.branch for row in replay.tree.rows()), None)
        if branch:
            self.knobs.follow(branch)
            self.prompt.value = self.prompt.validate_value(branch.start.text)
            await self.show(branch)
        if fault := message.fault or session.fault(replay):
            self.notify(fault, severity="error")
        else:
            self.notify(f"replayed exactly: {len(replay.tree)} branch{'es' if len(replay.tree) != 1 else ''}")
        await self._generate_if_asked()

    # --- runs ---

    async def action_generate(self) -> None:
        if self.loader.folder:
            self._generate_when_open = True
            return
        knobs, unknown = self.knobs, ", ".join(dict.fromkeys(self.prompt.unknown()))
        branch = await self._begin(
            lambda workspace: workspace.start(
                self.prompt.text, samples=knobs.samples, params=knobs.params, seed=knobs.seed, length=knobs.length
            )
        )
        if branch and unknown:
            self.notify(f"read as unknown: {unknown}")

    async def action_sweep(self) -> None:
        knobs = self.knobs
        await self._begin(
            lambda workspace: workspace.sweep(
                self.prompt.text, self.side.knobs.selected, params=knobs.params, seed=knobs.seed, length=knobs.length
            )
        )

    async def action_new_seed(self) -> None:
        self.knobs.draw_seed()
        self.show_state()
        await self.action_generate()

    async def action_resample(self) -> None:
        view = self.run_view
        if not view or view.position is None:
            return
        branch = await self._begin(
            partial(Workspace.resample, branch=view.branch, at=view.position, params=self.knobs.params)
        )
        if branch:
            same = branch.start.seed == view.branch.start.seed
            self.notify("a new branch: " + ("same noise, knobs as they are" if same else f"seed {branch.start.seed}"))

    async def on_next_token_chosen(self, message: NextToken.Chosen) -> None:
        await self._replace([message.token])

    def action_complete(self) -> None:
        from tui_gen.tui.dialogs.completion import CompletionDialog

        codec = self.workspace.loaded_model.codec if self.workspace else None
        if not isinstance(codec, ImageCodec):
            return
        levels = self.run_view.levels(self.run_view.sample) if self.run_view else None

        async def take(picture: Completion | None) -> None:
            if picture:
                knobs = self.knobs
                await self._begin(
                    lambda workspace: workspace.complete(
                        picture.text, picture.levels, samples=picture.samples, params=knobs.params, seed=knobs.seed
                    )
                )

        self.app.push_screen(CompletionDialog(codec, levels, self.prompt.text), take)

    def ask_for_word(self, text: str) -> None:
        """What is to stand in the place of the token at the cursor. text: its beginning, which was typed already."""
        from tui_gen.tui.dialogs.dialog import Ask, complaint_of

        workspace = self.workspace
        assert workspace

        async def take(word: str | None) -> None:
            if word:
                await self._replace(workspace.tokens_of(word))

        self.app.push_screen(Ask("instead of this token", text, check=complaint_of(workspace.tokens_of)), take)

    async def _replace(self, tokens: list[int]) -> None:
        view = self.run_view
        if not view or view.position is None:
            return
        branch, position, sample, params = view.branch, view.position, view.sample, self.knobs.params
        if position < len(branch) and tokens == [branch.tokens[position, sample]]:
            self.notify("that is what stands there already")
        else:
            await self._begin(lambda workspace: workspace.replace_tokens(branch, position, sample, tokens, params))

    async def _begin(self, begin: Callable[[Workspace], Branch]) -> Branch | None:
        """Begins a branch and shows how it grows; None where that cannot be, which is told."""
        workspace = self.workspace
        if not workspace:
            return None
        try:
            branch = begin(workspace)
        except TuiGenError as fault:
            self.notify(str(fault), severity="error")
            return None
        self._tell_of_journal(workspace)
        await self.show(branch, start=True)
        return branch

    def action_pause(self) -> None:
        if view := self.run_view:
            if not view.toggle_pause(self.knobs.length, self.knobs.rate):
                self.notify("the picture is complete")
            self.show_state()

    def on_run_view_advanced(self, message: RunView.Advanced) -> None:
        """Shows what was made; the panels follow at once where a run begins, is slow, or obeys other knobs."""
        view = message.view
        if view is not self.run_view:  # late: of the run before
            return
        view.take(message.buffer)
        view.workspace.note_growth(view.branch)
        self._tell_of_journal(view.workspace)
        before, self._frame = self._frame, message
        goes_on = before and before.view is view and before.buffer.turns[-1][1] == message.buffer.turns[-1][1]
        self.panels.ask()
        if not goes_on or self.knobs.rate <= _PANELS_PER_SECOND:
            self.panels.hurry()

    def _draw_panels(self) -> None:
        """Where the newest of what was made came from, how fast, and how far the run is."""
        frame = self._frame
        if frame and frame.view is self.run_view:
            self.side.show_position(frame.buffer)
            self.show_device()
            self.header.show_rate(frame.view.meter.rate(), frame.view.meter.step_seconds)
            self.side.follow_surprisal()
            self.show_progress()

    def on_run_view_paused(self, message: RunView.Paused) -> None:
        """Shows and notes in the journal what was made before the pause."""
        view = message.view
        self.panels.hurry()
        if view is self.run_view and view.still:
            view.workspace.note_growth(view.branch, resting=True)
            self._tell_of_journal(view.workspace)

    def on_run_view_rested(self, message: RunView.Rested) -> None:
        """Says why no more is made."""
        view = message.view
        if view is not self.run_view:
            return
        view.rest(message.ending)
        self.panels.hurry()
        if message.fault:
            self.notify(message.fault, severity="error")
        self.header.show_rate(view.meter.average_rate(), view.meter.step_seconds)
        self.side.follow_surprisal()
        view.workspace.note_growth(view.branch, resting=True)
        self._tell_of_journal(view.workspace)
        self.show_state()

    def _tell_of_journal(self, workspace: Workspace) -> None:
        if fault := workspace.take_fault():
            self.notify(fault, severity="error")

    # --- walking ---

    def action_walk(self, by: int) -> None:
        view = self.run_view
        if not view:
            return
        if by == 1 and view.behind_the_end and not view.running:
            if view.branch.ended:
                self.notify("it has come to its end; choose another token before it")
            elif not view.grow(1, self.knobs.rate):
                self.notify("the picture is complete")
        elif not view.walk(by):
            self.notify("here it ends; another token here, or before, begins a branch")

    def action_walk_to(self, end: str) -> None:
        if view := self.run_view:
            view.walk_to(1 if end == "first" else BEHIND)

    def action_turn_sample(self, direction: int) -> None:
        if view := self.run_view:
            view.turn_sample(direction)

    def on_run_view_moved(self, message: RunView.Moved) -> None:
        """The panels follow the cursor."""
        if message.view is self.run_view:
            self.output.sample = message.view.sample
            self.side.show_position()
            self.side.show_scores()
            self.show_progress()
            self.key_bar.show(self.context)

    def on_surprisal_panel_chosen(self, message: SurprisalPanel.Chosen) -> None:
        """One of the most surprising tokens: the cursor goes there."""
        if view := self.run_view:
            view.walk_to(message.position)

    async def action_stop(self) -> None:
        now, view = self.context, self.run_view
        if compared := self.output.compared:
            await self.show(compared)
        elif view and not (now.on_output() or now.in_prompt):
            view.focus_sample()
        elif view and view.leave_cursor():
            return
        elif view and view.running:
            view.stop()
        else:
            self.prompt.focus()

    def action_choose(self) -> None:
        self.side.show_surprisal(False)
        self.side.unfold(self.side.next_token)

    def action_surprisal(self) -> None:
        self.side.show_surprisal(not self.side.surprisal.display)

    # --- knobs ---

    def action_temperature(self, direction: int) -> None:
        image, now = self.workspace.loaded_model.card.image if self.workspace else None, self.context
        if image and now.walking and not now.in_prompt and self.run_view:
            self.run_view.walk(-direction * image.width * image.channels)
        else:
            self._turn("temperature", direction)

    def action_turn(self, direction: int, name: str = "") -> None:
        """Turns a knob; without a name, the one that is selected in the panel."""
        self._turn(name or self.side.knobs.selected, direction)

    def on_knob_panel_turned(self, message: KnobPanel.Turned) -> None:
        self._turn(message.name, message.direction)

    def on_knob_panel_reset(self, message: KnobPanel.Reset) -> None:
        self.knobs.reset(message.name)
        self._obey(message.name)

    def on_knob_panel_typed(self, message: KnobPanel.Typed) -> None:
        self._succeeds(lambda: self.knobs.type(message.name, message.text))
        self._obey(message.name)

    def _turn(self, name: str, direction: int) -> None:
        if self.workspace:
            self.knobs.turn(name, direction)
            self._obey(name)

    def _obey(self, knob: str) -> None:
        """A knob stands elsewhere now: what it means for the run and the panels."""
        view = self.run_view
        if view and knob == "pace":
            view.pace.set_rate(self.knobs.rate)
        if view and knob == "length":
            view.set_length(self.knobs.length)
        self.side.show_knobs()
        self.show_state()

    # --- branches and models ---

    def on_model_list_selected(self, message: ModelList.Selected) -> None:
        self.open(message.folder)
        self.prompt.focus()

    async def on_branch_list_selected(self, message: BranchList.Selected) -> None:
        """Shows another branch."""
        if self.workspace and message.name in self.workspace.tree:
            await self.show(self.workspace.tree[message.name])

    async def on_branch_list_compared(self, message: BranchList.Compared) -> None:
        """Shows a branch beside the one on the screen."""
        view, workspace = self.run_view, self.workspace
        if not view or not workspace or message.name not in workspace.tree:
            return
        if message.name == view.branch.name:
            self.notify("that is the branch on the screen; choose another one to compare it with")
            return
        await self.output.compare(workspace, view.branch, workspace.tree[message.name])
        self.show_state()

    def on_branch_list_renamed(self, message: BranchList.Renamed) -> None:
        """Asks for another name."""
        from tui_gen.tui.dialogs.dialog import Ask

        workspace, name = self.workspace, message.name
        assert workspace

        def take(text: str | None) -> None:
            if text:
                workspace.rename(name, text)
                self.show_state()

        check = partial(workspace.complaint_about_name, name)
        self.app.push_screen(Ask("name of the branch", name, check=check, select=True), take)

    async def on_branch_list_changed(self) -> None:
        """A branch is gone; the one on the screen gives its place to the nearest."""
        workspace, view = self.workspace, self.run_view
        if workspace and (view is None or view.branch.name not in workspace.tree):
            await self.show(workspace.tree[workspace.shown])
            self.branches.focus()
        self.show_state()

    def action_unfold(self, name: str) -> None:
        """Goes to a list or panel, also where it is folded away."""
        widget = {"models": self.models, "branches": self.branches, "knobs": self.side.knobs}[name]
        (self.side if name == "knobs" else self.lists).unfold(widget)

    def action_training(self) -> None:
        from tui_gen.tui.dialogs.training import training_dialog

        if self.workspace:
            loaded_model = self.workspace.loaded_model
            self._succeeds(lambda: self.app.push_screen(training_dialog(loaded_model)))

    def action_rendering(self) -> None:
        if not self.output.turn_rendering():
            self.notify(f"pictures will be drawn in {RENDERING_NAMES[self.output.rendering]}")

    def action_scroll_output(self, direction: int) -> None:
        self.output.scroll_page(direction)

    # --- keeping ---

    def action_save(self, first: str = "") -> None:
        """first: the ending that is proposed; without it, that of the output."""
        from tui_gen.tui.dialogs.save import save_dialog

        if view := self.run_view:
            dialog, write = save_dialog(view.workspace, view.branch, first)

            def take(path: Path | None) -> None:
                if path and self._succeeds(lambda: write(path)):
                    self.notify(f"saved as {path}")

            self.app.push_screen(dialog, take)

    def action_command(self) -> None:
        from tui_gen.output.branch_file import SESSION
        from tui_gen.tui.dialogs.save import command_dialog

        if view := self.run_view:
            dialog = command_dialog(view.workspace.loaded_model, view.branch)

            def take(choice: str | None) -> None:
                if choice == "copy":
                    self._copy(dialog.command, "the command")
                elif choice == "save":
                    self.action_save(SESSION)

            self.app.push_screen(dialog, take)

    def action_copy(self) -> None:
        from tui_gen.output.branch_file import clipboard_text

        if view := self.run_view:
            self._copy(*clipboard_text(view.branch, view.workspace.loaded_model, view.sample))

    def _copy(self, text: str, what: str) -> None:
        self.app.copy_to_clipboard(text)
        self.notify(f"copied {what} (through the terminal, which must allow it)")

    # --- what is typed ---

    def on_key(self, event: events.Key) -> None:
        """What is typed while nothing is typed into goes to the prompt, or in the place of the token at the cursor."""
        letter, now = event.character if event.is_printable else None, self.context
        if letter and not is_bound(event.key) and now.on_output():
            event.stop()
            if now.can_type_over() or (now.can_choose() and now.drawing and letter.isdigit()):
                self.ask_for_word(letter)
            else:
                self.prompt.begin(letter)

    def on_paste(self, event: events.Paste) -> None:
        """What is pasted goes to the prompt, or in the place of the token at the cursor."""
        if self.context.can_type_over():
            self.ask_for_word(event.text.strip())
        else:
            self.prompt.begin(event.text)

    def on_input_changed(self) -> None:
        """A prompt that is mended needs no complaint."""
        self.app.clear_notifications()

    def on_resize(self) -> None:
        """The knobs may have come or gone."""
        self.call_after_refresh(self.show_progress)

    def on_descendant_focus(self) -> None:
        """The keys mean other things elsewhere."""
        self.lists.fold()
        self.side.fold()
        if view := self.run_view:
            view.follow_focus(self.focused)
        self.key_bar.show(self.context)
