"""The playground: composes the widgets, answers their messages, and does what the keys ask for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar
from weakref import WeakKeyDictionary

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.geometry import Size

from tui_gen.checkpoint import Answers, is_checkpoint
from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch
from tui_gen.generation.describe import describe
from tui_gen.generation.pacing import Throttle
from tui_gen.generation.surgery import Intervention
from tui_gen.hub import is_address
from tui_gen.images.codec import ImageCodec
from tui_gen.images.raster import RENDERING_NAMES
from tui_gen.library import Entry, LoadedModel
from tui_gen.sessions.history import PromptHistory
from tui_gen.sessions.workspace import Workspace
from tui_gen.training_run import shown_name
from tui_gen.tui.bindings import KEYS, Context, Key, Owner, bind, bindings_of, is_bound, key_of, works
from tui_gen.tui.clipboard import CopyRequest
from tui_gen.tui.knob_state import KnobState, Settings
from tui_gen.tui.layout import SteadyScreen, layout
from tui_gen.tui.model_loader import (
    CheckpointAsks,
    ConversionProgress,
    ModelLoader,
    ModelOpened,
    ModelRefused,
    ModelWritten,
    ReplayEnded,
    ReplayProgress,
)
from tui_gen.tui.widgets.header import Header, KeyBar, about_text
from tui_gen.tui.widgets.inside_panel import InsidePanel, InsideView
from tui_gen.tui.widgets.knob_panel import KnobPanel
from tui_gen.tui.widgets.lists import BranchList, ModelList, Sidebar
from tui_gen.tui.widgets.next_token import NextToken
from tui_gen.tui.widgets.output import Output
from tui_gen.tui.widgets.prompt import Prompt, SignedInput, one_line
from tui_gen.tui.widgets.run_view import BEHIND, Cursor, RunView
from tui_gen.tui.widgets.search import BranchSearch, SearchBar
from tui_gen.tui.widgets.side import Side
from tui_gen.tui.widgets.surprisal_panel import SurprisalPanel
from tui_gen.tui.widgets.surprisal_strip import SurprisalStrip

if TYPE_CHECKING:
    from tui_gen.tui.dialogs.completion import Completion

T = TypeVar("T")
_PANELS_PER_SECOND = 4
"""How often the panels are drawn while a run goes on, at most: nobody reads numbers that change with every token."""


class PlaygroundScreen(SteadyScreen[None]):
    """One model, its branches, one of them in the middle, and what can be said of a position of it."""

    BINDINGS: ClassVar[list[BindingType]] = bindings_of("screen")
    others: tuple[Owner, ...] = ()
    """Whose keys it has besides its own."""

    def __init__(
        self, settings: Settings, entries: Sequence[Entry], workspaces: list[Workspace], keys: Sequence[Key] = KEYS
    ) -> None:
        """workspaces: of the models that were opened; grows."""
        super().__init__()
        bind(self, "screen", keys, *self.others)
        self.settings, self._keys = settings, keys
        self.knobs = KnobState(
            settings.params,
            samples=settings.samples,
            seed=settings.seed,
            length=settings.length,
            temperature=settings.temperature,
            rate=settings.rate,
        )
        self.loader = ModelLoader(settings, workspaces)
        self.header, self.prompt, self.key_bar = Header(), Prompt(""), KeyBar(keys)
        self.history, self.search = PromptHistory(), SearchBar()
        self.models, self.branches = ModelList(entries, keys), BranchList(keys)
        self.lists = Sidebar(self.models, self.branches, id="lists", least=30)
        self.output, self.side = Output(self.knobs, self.loader.names), Side(self.knobs.params)
        self.inside = InsidePanel(keys)
        self.panels = Throttle(self._draw_panels, self.set_timer, rate=_PANELS_PER_SECOND)
        self._frame: RunView.Advanced | None = None
        """The newest, for the panels."""
        self._cursors = dict[Workspace, Cursor | None]()
        """Where they stood when another model was chosen."""
        self._stood = WeakKeyDictionary[Branch, int]()
        """Where the cursor stood last."""
        self._before: Branch | None = None
        """The branch that was on the screen before the present one."""
        self._generate_when_open = False

    def compose(self) -> ComposeResult:
        """Header, three columns, prompt, keys."""
        yield self.loader
        yield self.header
        with Horizontal(id="body"):
            yield self.lists
            with Vertical(id="middle"):
                yield self.output
                yield self.side.strip
            yield self.inside
            yield self.side
        yield self.search
        yield self.prompt
        yield self.key_bar

    def on_mount(self) -> None:
        """Opens the first model; the prompt has the focus."""
        self.prompt.value = self.settings.prompt
        self.prompt.focus()
        self._open(self.settings.folder)

    # --- what is on the screen ---

    @property
    def workspace(self) -> Workspace | None:
        """Of the model that plays."""
        return self.output.workspace

    @property
    def run_view(self) -> RunView | None:
        """The branch in the middle; None while a model's card or a comparison stands there."""
        return self.output.run_view

    @property
    def context(self) -> Context:
        """What a person is doing."""
        view, runs, focus = self.run_view, self.output.runs, self.focused
        return Context(
            running=runs is not None and runs.running,
            paused=runs is not None and runs.paused,
            unfinished=runs is not None and runs.can_grow,
            walking=view is not None and view.cursor is not None,
            in_prompt=focus is self.prompt,
            in_list=focus is self.models,
            in_branches=focus is self.branches,
            in_panel=focus is self.side.next_token,
            in_knobs=focus is self.side.knobs,
            in_surprisal=self.side.surprisal.has_focus_within,
            in_inside=self.inside.has_focus_within,
            inside_view=self.inside.view.drawing,
            in_search=self.search.has_focus_within,
            can_yank=isinstance(focus, SignedInput) and focus.can_yank,
            several=view is not None and view.branch.samples > 1,
            drawing=self.workspace is not None and self.workspace.loaded_model.card.image is not None,
            made=view is not None,
            comparing=self.output.compared is not None,
            beside=runs is not None and bool(runs.others),
            before=self._before is not None and not self._before.is_deleted,
            played=any(each is not self.workspace and len(each.tree) for each in self.loader.workspaces),
            converted=self.workspace is not None and self.workspace.loaded_model.conversion is not None,
            outdated=self.workspace is not None and self.loader.is_outdated(self.workspace.loaded_model),
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

    async def _follow(self, change: Awaitable[T]) -> T:
        """Lets the output change; room, panels, knobs and keys follow it."""
        self.loader.look()
        result = await change
        self.share_room()
        if self.run_view and self.run_view is not self.side.view:
            if self.side.view and self.side.view.branch is not self.run_view.branch:
                self._before = self.side.view.branch
            self.side.attend(self.run_view)
            self.inside.view.attend(self.run_view)
            self.inside.view.follow()
        self.show_state()
        return result

    def show_state(self) -> None:
        """Knobs, progress, branches and keys as they are."""
        if not self.workspace:
            return
        view = self.run_view
        later = self.knobs.later(view.branch) if view and view.running else set()
        self.side.knobs.show(self.knobs.values(), changed_for_next=later)
        self.show_progress()
        self.branches.show(self.workspace, view.branch.name if view else "", self.loader.played_beside(self.workspace))
        self.key_bar.show(self.context)

    def show_progress(self) -> None:
        """How far the run is; where the knobs have no room, the prompt's frame says the most important of them."""
        view = self.run_view
        self.side.show_legend()
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
        if folder != self.loader.folder:
            self._open(folder)

    def _open(self, folder: Path) -> None:
        self.header.show(f"opening {shown_name(folder)} ...")
        self.loader.open(folder)

    def on_conversion_progress(self, message: ConversionProgress) -> None:
        """Says what is being done with a checkpoint, or a model of the hub."""
        if message.path == self.loader.folder:  # nobody has ended it since
            verb = "fetching" if is_address(message.path) else "converting"
            what = f"{verb} {shown_name(message.path)}" + (f" for {message.seconds} s" if message.seconds else "")
            self.header.show(f"{what}, {key_of('stop', self._keys)} ends it: {message.line}")

    def on_checkpoint_asks(self, message: CheckpointAsks) -> None:
        """Hands its questions to the person, and the answers back."""
        from tui_gen.tui.dialogs.checkpoint import CheckpointDialog

        async def take(answers: Answers | None) -> None:
            if answers is None:
                await self._end_opening(message.path)
            else:
                self.loader.answer(message, answers)

        asked = (message.path.name, message.diagnosis, message.answers, message.fault)
        self.app.push_screen(CheckpointDialog(*asked), take)

    async def _end_opening(self, path: Path) -> None:
        self.loader.cancel()
        if not (self.workspace and self.workspace.loaded_model.path == path):
            await self.on_model_refused(ModelRefused(f"{shown_name(path)} was not opened"))
        else:
            self.header.show_model(self.workspace.loaded_model)

    async def on_model_refused(self, message: ModelRefused) -> None:
        """A model that cannot be opened; what is on the screen stays."""
        self._generate_when_open = False
        self.notify(message.fault, severity="error")
        if self.workspace:
            self.header.show_model(self.workspace.loaded_model)
        else:
            self.header.show("no model")
            await self.output.show_card(f"{message.fault}\n\nChoose another model with {key_of('models', self._keys)}.")

    async def on_model_opened(self, message: ModelOpened) -> None:
        """A model is ready; its card is shown until it runs."""
        if message.beside:
            await self._compare(message.workspace.loaded_model)
            return
        await self.serve(message.workspace)
        if message.session:
            await self.output.show_card("making the session again ...")
        await self._generate_if_asked()

    async def _generate_if_asked(self) -> None:
        if self._generate_when_open and not self.loader.folder:
            self._generate_when_open = False
            await self.action_generate()

    async def serve(self, workspace: Workspace) -> None:
        """Lets a model be played, with the prompt that is there; its branches and the cursor are as they were left."""
        loaded_model = workspace.loaded_model
        if self.workspace and self.run_view:
            self._cursors[self.workspace] = self.run_view.cursor
        self._cursors = {each: cursor for each, cursor in self._cursors.items() if each in self.loader.workspaces}
        self.output.workspace = self.loader.playing = workspace
        self._before = None
        self.knobs.serve(loaded_model.card)
        self.side.attend(None)
        self.inside.view.attend(None)
        await self.output.show_card(about_text(loaded_model, self._keys))
        self.share_room()
        self.prompt.serve(loaded_model.codec, loaded_model.card.prompt_example, loaded_model.card.name)
        self.models.mark(loaded_model)
        self.side.next_token.clear(loaded_model.codec)
        self.side.knobs.serve(self.knobs.table)
        self.header.show_model(loaded_model)
        self.show_state()
        if workspace.shown in workspace.tree:
            await self._follow(self.output.show(workspace.tree[workspace.shown]))
            if self.run_view and (cursor := self._cursors.pop(workspace, None)):
                self.run_view.walk_to(BEHIND if cursor.position is None else cursor.position, cursor.sample)
        else:
            self.prompt.focus()
        if self.loader.is_outdated(loaded_model):
            self._tell_of_newer(loaded_model.path)

    def on_model_written(self, message: ModelWritten) -> None:
        """The model on the screen has a successor, which one key loads."""
        if self.workspace and self.workspace.loaded_model.path == message.folder:
            self._tell_of_newer(message.folder)
            self.key_bar.show(self.context)

    def _tell_of_newer(self, folder: Path) -> None:
        key = key_of("load_anew", self._keys)
        self.notify(f"{shown_name(folder)} was written anew; {key} loads it, and prompt and branches stay")

    async def action_load_anew(self) -> None:
        workspace = self.workspace
        if not workspace:
            return
        folder, question = workspace.loaded_model.path, self.loader.question_of(workspace.loaded_model)
        newest = self.loader.newest(folder)
        if newest and newest is not workspace and not self.loader.is_outdated(newest.loaded_model):
            await self._return_to(newest)
        elif question and not self.loader.is_outdated(workspace.loaded_model):
            self.on_checkpoint_asks(question)
        else:
            self.header.show(f"opening {shown_name(folder)} ...")
            self.loader.reload(folder)

    def on_replay_progress(self, message: ReplayProgress) -> None:
        """Says how far it is."""
        self.header.show(f"making the session again: {message.done:,} of {message.total:,} tokens")

    async def on_replay_ended(self, message: ReplayEnded) -> None:
        """Goes on with the branches that were made again, with the knobs as they were left."""
        self.output.workspace, replay, session = message.workspace, message.replay, message.session
        self.header.show_model(message.workspace.loaded_model)
        branch = replay.branches.get(session.chosen.number)
        if branch is None or branch.name not in replay.tree:
            branch = next((row.branch for row in replay.tree.rows()), None)
        if branch:
            self.knobs.follow(branch)
            self.prompt.show_text(branch.start.text)
            await self._follow(self.output.show(branch))
        if fault := message.fault or session.fault(replay):
            self.notify(fault, severity="error")
        else:
            count = f"replayed exactly: {len(replay.tree)} branch{'es' if len(replay.tree) != 1 else ''}"
            self.notify(", ".join(filter(None, [count, session.origin])))
        await self._generate_if_asked()

    # --- runs ---

    async def action_generate(self) -> None:
        await self._generate()

    async def _generate(self) -> bool:
        """False for a prompt that the model cannot read."""
        if self.loader.folder:
            self._generate_when_open = True
            return True
        unknown = ", ".join(dict.fromkeys(self.prompt.unknown()))
        branch = await self._follow(self.output.start(self.prompt.text))
        self._note_prompt(branch)
        if branch and unknown:
            self.notify(f"read as unknown: {unknown}")
        return branch is not None or self.output.waiting is not None

    async def on_output_ready(self, message: Output.Ready) -> None:
        """Begins what waited for a tokenizer, unless something else was done since."""
        if message is self.output.waiting:
            self._note_prompt(await self._follow(message.begin()))

    async def action_sweep(self) -> None:
        self._note_prompt(await self._follow(self.output.sweep(self.prompt.text, self.side.knobs.selected)))

    def _note_prompt(self, branch: Branch | None) -> None:
        """Keeps the prompt of a branch that has begun for later sessions."""
        if branch and self.workspace:
            self.history.add(self.workspace.loaded_model.card.name, branch.start.text)
            self.prompt.end_recall()
            if fault := self.history.take_fault():
                self.notify(fault, severity="warning")

    def action_recall(self, direction: int) -> None:
        if not self.prompt.recall(self.history.prompts, direction):
            self.notify(f"there is no {'earlier' if direction < 0 else 'later'} prompt")

    async def action_new_seed(self) -> None:
        before = self.knobs.seed
        self.knobs.draw_seed()
        if not await self._generate():
            self.knobs.seed = before
        self.show_state()

    async def action_resample(self) -> None:
        await self._follow(self.output.resample())

    async def on_next_token_chosen(self, message: NextToken.Chosen) -> None:
        await self._follow(self.output.replace([message.token]))

    def action_complete(self) -> None:
        from tui_gen.tui.dialogs.completion import CompletionDialog

        if not self.workspace:
            return
        codec = self.workspace.loaded_model.codec
        if not isinstance(codec, ImageCodec):
            self.notify(f"this completes pictures, and {self.workspace.loaded_model.card.name} writes text")
            return
        levels = self.run_view.levels(self.run_view.sample) if self.run_view else None

        async def take(picture: Completion | None) -> None:
            if picture:
                await self._follow(self.output.complete(picture.text, picture.levels, picture.samples))

        self.app.push_screen(CompletionDialog(codec, levels, self.prompt.text), take)

    def ask_for_word(self, text: str) -> None:
        """What is to stand in the place of the token at the cursor. text: its beginning, which was typed already."""
        from tui_gen.tui.dialogs.dialog import Ask, complaint_of

        workspace = self.workspace
        assert workspace

        async def take(word: str | None) -> None:
            if word:
                await self._follow(self.output.replace(workspace.tokens_of(word)))

        self.app.push_screen(Ask("instead of this token", text, check=complaint_of(workspace.tokens_of)), take)

    def action_pause(self) -> None:
        self.output.pause()
        self.show_state()

    def on_run_view_advanced(self, message: RunView.Advanced) -> None:
        """Shows what was made; the panels follow at once where a run begins, is slow, or obeys other knobs."""
        if message.view is not self.run_view:  # late: of the run before
            return
        before, self._frame = self._frame, message
        goes_on = before and before.view is message.view and before.buffer.turns[-1][1] == message.buffer.turns[-1][1]
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
            self.inside.view.follow()
            if self.output.runs:
                self.output.runs.follow()
            self.show_progress()

    def on_run_view_paused(self, message: RunView.Paused) -> None:
        """Shows what was made before the pause."""
        self.panels.hurry()
        if message.view is self.run_view and message.view.still:
            self.side.follow_surprisal()
            self.inside.view.follow()

    def on_run_view_rested(self, message: RunView.Rested) -> None:
        """Says why no more is made."""
        view = message.view
        if view is self.run_view:  # else one beside it may have ended last
            self.panels.hurry()
            self.header.show_rate(view.meter.average_rate(), view.meter.step_seconds)
            self.side.follow_surprisal()
            self.inside.view.follow()
        self.show_state()

    # --- walking ---

    def action_walk(self, by: int) -> None:
        self.output.walk(by)

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
            if (position := message.view.position) is not None:
                self._stood[message.view.branch] = position
            self.side.show_position()
            self.side.show_scores()
            self.inside.view.follow()
            self.show_progress()
            self.key_bar.show(self.context)

    def on_surprisal_panel_chosen(self, message: SurprisalPanel.Chosen) -> None:
        """One of the most surprising tokens: the cursor goes there."""
        if view := self.run_view:
            view.walk_to(message.position)

    def on_surprisal_strip_clicked(self, message: SurprisalStrip.Clicked) -> None:
        """A token of the strip: the cursor goes there."""
        if view := self.run_view:
            image = view.workspace.loaded_model.card.image
            view.walk_to(view.head + message.number * image.channels if image else message.number + 1)

    async def action_stop(self) -> None:
        if self.loader.folder and (is_address(self.loader.folder) or is_checkpoint(self.loader.folder)):
            await self._end_opening(self.loader.folder)
            return
        view, now = self.run_view, self.context
        if view and not (now.on_output() or now.in_prompt):
            view.focus_sample()
        elif not await self._follow(self.output.step_back()):
            self.prompt.focus()

    async def action_search(self) -> None:
        codec = self.workspace.loaded_model.codec if self.workspace else None
        if compared := self.output.compared:
            await self._follow(self.output.show(compared))
        view = self.run_view
        if isinstance(codec, ImageCodec):
            self.notify("a picture has no text to search")
        elif self.search.has_focus_within:
            self.search.action_step(1)
        elif view and codec:
            sample, position = (view.sample, view.position) if view.position else (0, 1)
            self.search.open(BranchSearch(view.workspace.tree, codec, view.branch), sample, position)
        else:
            self.notify("there is nothing to search yet; enter generates")

    def on_search_bar_sought(self, message: SearchBar.Sought) -> None:
        """Marks what matches."""
        if view := self.run_view:
            view.mark(message.pattern)

    async def on_search_bar_reached(self, message: SearchBar.Reached) -> None:
        """The cursor goes to a match, wherever it is."""
        if not self.run_view or message.branch is not self.run_view.branch:
            await self._follow(self.output.show(message.branch))
            self.on_search_bar_sought(message)
            self.search.focus_line()
        if view := self.run_view:
            view.walk_to(message.position, message.sample)

    def action_choose(self) -> None:
        self.side.show_distribution()
        self.side.unfold(self.side.next_token)

    def action_surprisal(self) -> None:
        self.side.show_surprisal(not self.side.marking)

    def action_inside(self) -> None:
        """Opens the panel, or closes it."""
        if self.inside.display:
            self.inside.close()
            if self.run_view:
                self.run_view.focus_sample()
        else:
            self.inside.open()
        self.share_room()
        self.inside.view.follow()

    def on_inside_view_turned(self) -> None:
        """Other keys mean something."""
        self.key_bar.show(self.context)

    def on_inside_view_chosen(self, message: InsideView.Chosen) -> None:
        """A place where the same units are on: the cursor goes there."""
        if view := self.run_view:
            view.walk_to(message.position)

    def on_inside_view_surgery(self, message: InsideView.Surgery) -> None:
        """Asks what is to be done to the state, and begins a branch with it."""
        from tui_gen.tui.dialogs.surgery import surgery_dialog

        workspace, branch = self.workspace, message.branch
        if not workspace or branch.is_deleted:
            return

        def ask() -> None:
            dialog, read = surgery_dialog(message, workspace, self._stood)

            async def take(text: str | None) -> None:
                if text is not None:
                    await self._operate(branch, message.position, read(text))

            self.app.push_screen(dialog, take)

        self._succeeds(ask)

    def on_inside_view_asked(self, message: InsideView.Asked) -> None:
        """Asks for a text, which becomes a branch, or for a word, and shows what is near it."""
        if message.subject == "text":
            self.ask_for_text()
        elif self.workspace:
            from tui_gen.tui.dialogs.dialog import Ask, complaint_of

            def take(word: str | None) -> None:
                if word:
                    self.inside.view.show_neighbours(word)

            self.app.push_screen(Ask("near which word", check=complaint_of(self.workspace.tokens_of)), take)

    def ask_for_text(self, line: str = "") -> None:
        """Asks for a file or a text that the model is to read. line: what was pasted already."""
        from tui_gen.tui.dialogs.given_text import GivenText, given_text, text_dialog

        workspace, knobs = self.workspace, self.knobs
        if not workspace or workspace.loaded_model.card.image:
            self.notify("this reads texts, and the model draws pictures")
            return

        def read(given: GivenText, workspace: Workspace) -> Branch:
            branch = workspace.read(given.text, given.name, params=knobs.params, seed=knobs.seed)
            part = f", the first {len(given.text):,} characters" if given.is_cut else ""
            self.notify(f"reads {given.name}{part}; {key_of('turn_back', self._keys)} leads back")
            return branch

        async def take(line: str | None) -> None:
            if line is None:
                return
            try:
                given = given_text(line)
            except TuiGenError as fault:  # a file that is gone since
                self.notify(str(fault), severity="error")
                return
            branch = await self._follow(self.output.begin(partial(read, given), text=given.text))
            if branch:
                self.inside.open()

        self.app.push_screen(text_dialog(workspace, line), take)

    async def _operate(self, branch: Branch, position: int, intervention: Intervention) -> None:
        """The focus stays in the panel where that leaves the text in sight."""
        new = await self._follow(self.output.begin(lambda workspace: workspace.operate(branch, position, intervention)))
        if not new or not self.workspace:
            return
        more = "; space goes on with it" if self.workspace.is_full(new) else ""
        self.notify(f"a new branch, same noise: {describe(new, self.workspace.loaded_model.codec)}{more}")
        if not self.inside.lies_over:
            self.inside.view.focus()

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
        runs = self.output.runs
        if runs and knob == "pace":
            runs.set_rate(self.knobs.rate)
        if runs and knob == "length":
            runs.set_length(self.knobs.length)
        self.side.show_knobs()
        self.show_state()

    # --- branches and models ---

    async def on_model_list_selected(self, message: ModelList.Selected) -> None:
        self.prompt.focus()
        if workspace := self.loader.ready(message.folder):
            await self._return_to(workspace)
        else:
            self.open(message.folder)

    async def on_branch_list_model_selected(self, message: BranchList.ModelSelected) -> None:
        """Plays another model that is open."""
        await self._return_to(message.workspace)

    async def _return_to(self, workspace: Workspace) -> None:
        """Plays a model that is open, and opens no other one."""
        self.loader.cancel()
        if workspace is self.workspace:
            self.header.show_model(workspace.loaded_model)
            if view := self.run_view:
                view.focus_sample()
        else:
            await self.serve(workspace)

    async def on_branch_list_selected(self, message: BranchList.Selected) -> None:
        """Shows another branch."""
        if self.workspace and message.name in self.workspace.tree:
            await self._show(self.workspace.tree[message.name])

    async def _show(self, branch: Branch) -> None:
        """Shows a branch, and its prompt."""
        self.prompt.show_text(branch.start.text)
        await self._follow(self.output.show(branch))

    async def action_turn_back(self) -> None:
        """The branch before, where its cursor stood."""
        branch, inside = self._before, self.context.in_inside
        if branch and not branch.is_deleted:
            await self._show(branch)
            if self.run_view and branch in self._stood:
                self.run_view.walk_to(self._stood[branch])
            if inside:
                self.inside.open()

    async def on_branch_list_compared(self, message: BranchList.Compared) -> None:
        """Shows a branch beside the one on the screen."""
        await self._follow(self.output.compare_branches(message.name))

    async def on_model_list_compared(self, message: ModelList.Compared) -> None:
        """Plays the same beside the model on the screen with another one, once that is open."""
        if self.loader.folder:
            self.notify("a model is being opened; compare when it is there")
        elif workspace := self.loader.ready(message.folder):
            await self._compare(workspace.loaded_model)
        else:
            self.header.show(f"opening {shown_name(message.folder)} beside it ...")
            self.loader.open_beside(message.folder)

    async def on_branch_list_model_compared(self, message: BranchList.ModelCompared) -> None:
        """The same with one that was played."""
        await self._compare(message.workspace.loaded_model)

    async def _compare(self, loaded_model: LoadedModel) -> None:
        if self.workspace:
            self.header.show_model(self.workspace.loaded_model)
            self._note_prompt(await self._follow(self.output.compare_models(loaded_model, self.prompt.text)))

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
            await self._show(workspace.tree[workspace.shown])
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
        self.inside.view.follow()

    def action_scroll_output(self, direction: int) -> None:
        self.output.scroll_page(direction)

    # --- keeping ---

    def action_save(self, first: str = "") -> None:
        """first: the ending that is proposed; without it, that of the output."""
        from tui_gen.tui.dialogs.save import save_dialog

        if view := self.run_view:
            self.app.push_screen(save_dialog(view.workspace, view.branch, first))

    def action_command(self) -> None:
        from tui_gen.output.branch_file import SESSION
        from tui_gen.tui.dialogs.save import command_dialog

        if view := self.run_view:
            columns = [(each.loaded_model, branch) for each, branch in view.workspace.columns(view.branch)]
            outdated = any(self.loader.is_outdated(loaded_model) for loaded_model, _ in columns)
            dialog = command_dialog(columns, outdated=outdated)

            def take(choice: str | None) -> None:
                if choice == "copy":
                    self.post_message(CopyRequest(dialog.command, "the command"))
                elif choice == "save":
                    self.action_save(SESSION)

            self.app.push_screen(dialog, take)

    def action_copy(self) -> None:
        from tui_gen.output.branch_file import clipboard_text

        if view := self.run_view:
            text, what = clipboard_text(view.branch, view.workspace.loaded_model, view.sample)
            if self.context.beside:
                what += f", {view.workspace.loaded_model.card.name} alone,"
            self.post_message(CopyRequest(text, what))

    # --- what is typed ---

    def heed(self, event: events.Key | events.Paste) -> None:
        """A person is about to do something, whatever has the focus."""

    def on_key(self, event: events.Key) -> None:
        """What is typed while nothing is typed into goes to the prompt, or in the place of the token at the cursor."""
        letter, now = event.character if event.is_printable else None, self.context
        if letter and not is_bound(event.key, self._keys, *self.others) and now.on_output():
            event.stop()
            if now.can_type_over() or (now.can_choose() and now.drawing and letter.isdigit()):
                self.ask_for_word(letter)
            else:
                self.prompt.begin(letter)

    def on_paste(self, event: events.Paste) -> None:
        """What is pasted goes to the prompt, or in the place of the token at the cursor."""
        if self.context.in_inside:
            self.ask_for_text(one_line(event.text))
        elif self.context.can_type_over():
            self.ask_for_word(event.text.strip())
        else:
            self.prompt.begin(event.text)

    def on_input_changed(self) -> None:
        """A prompt that is mended needs no complaint."""
        self.app.clear_notifications()

    def on_resize(self) -> None:
        """Shares the room anew; the knobs may have come or gone."""
        self.share_room()
        self.call_after_refresh(self.show_progress)

    def on_screen_resume(self) -> None:
        """The terminal may have another size than before the dialog that is closed now."""
        self.share_room()

    @property
    def room(self) -> Size:
        """Of the terminal, what the parts of the screen share."""
        return self.app.size

    def share_room(self) -> None:
        """Shows the parts that the table of layouts has for this size and for what stands in the middle."""
        now = layout(self.room, self.output.content, inside=self.inside.is_on and self.run_view is not None)
        self.lists.take_columns(now.lists)
        self.side.take_layout(now)
        self.inside.take_columns(now.inside)

    def on_descendant_focus(self) -> None:
        """The keys mean other things elsewhere."""
        self.lists.fold()
        self.side.fold()
        self.inside.fold()
        self.search.fold()
        if view := self.run_view:
            view.follow_focus(self.focused)
        self.key_bar.show(self.context)
