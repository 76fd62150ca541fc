"""The middle of the screen: a model's card, a branch, also of several models, or two branches that are compared."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from textual.containers import Container
from textual.message import Message
from textual.widget import Widget

from tui_gen.errors import TuiGenError, WaitingError
from tui_gen.generation.branch import Branch
from tui_gen.images.raster import RENDERINGS, Rendering
from tui_gen.library import LoadedModel
from tui_gen.sampling.params import Tokens
from tui_gen.sessions.workspace import Workspace
from tui_gen.tui.knob_state import KnobState
from tui_gen.tui.layout import Content
from tui_gen.tui.widgets.header import About
from tui_gen.tui.widgets.image_view import ImageView
from tui_gen.tui.widgets.run_view import RunView
from tui_gen.tui.widgets.runs import Runs, check_beside


class Output(Container):
    """Begins, shows and compares the branches of a model, one thing at a time. What cannot be done is told."""

    @dataclass
    class Ready(Message):
        """What waits for a tokenizer can begin."""

        begin: Callable[[], Awaitable[Branch | None]]

    def __init__(self, knobs: KnobState, names: Callable[[Sequence[LoadedModel]], list[str]]) -> None:
        """knobs: read when a branch begins, and while it grows. names: what to call models beside each other."""
        super().__init__(id="output")
        self.knobs, self._names = knobs, names
        self.workspace: Workspace | None = None
        """Of the model that plays."""
        self.runs: Runs | None = None
        """The branch, and those of other models beside it; None while a model's card or a comparison is shown."""
        self.compared: Branch | None = None
        """The first branch of the comparison that is shown."""
        self.waiting: Output.Ready | None = None
        """For what is to begin next; None where nothing waits."""
        self.sample = 0
        """The one that a person looked at last."""
        self.rendering: Rendering = "blocks"
        """Of pictures, the one that a person chose last."""
        self._place = asyncio.Lock()

    @property
    def run_view(self) -> RunView | None:
        """The branch, of several models the first one's."""
        return self.runs.first if self.runs else None

    @property
    def content(self) -> Content:
        """What is shown, as the table of layouts tells it apart."""
        view, workspace = self.run_view, self.workspace
        models = 1 + len(self.runs.others) if self.runs else 1
        if self.compared:
            return "comparison"
        if models > 1:
            return "two models" if models == 2 else "three models"
        if view and view.branch.start.sweep:
            return "sweep"
        return "picture" if workspace and workspace.loaded_model.card.image else "text"

    async def show_card(self, about: str) -> None:
        """Shows a text, such as a model's card."""
        await self._put(About(about))

    async def show(self, branch: Branch, *, start: bool = False) -> None:
        """Shows a branch of the workspace and what stands beside it, and lets them grow if it is told to."""
        workspace = self.workspace
        assert workspace
        columns = workspace.columns(branch)
        views = [
            RunView(
                owner,
                column,
                params=self.knobs.params,
                rendering=self.rendering,
                sample=self.sample,
                beside=None if column is branch else branch,
            )
            for owner, column in columns
        ]
        workspace.show(branch)
        names = self._names([owner.loaded_model for owner, _ in columns])
        runs = Runs(views, names, workspace.comparison(branch))
        await self._put(runs)
        self.runs = runs
        runs.first.focus_sample()
        if start:
            runs.start(self.knobs.rate)

    async def _put(self, widget: Widget) -> None:
        """Replaces what is shown; a run that is there ends. Of two at once, one waits."""
        async with self._place:
            self.runs = self.compared = self.waiting = None
            await self.remove_children()
            await self.mount(widget)

    # --- branches ---

    async def begin(
        self, begin: Callable[[Workspace], Branch], *, text: str | None = None, beside: Sequence[LoadedModel] = ()
    ) -> Branch | None:
        """Begins a branch and shows how it grows; None where that cannot be.

        text: the prompt of one that leaves no other branch: it is compared with the models on the screen, too.
        beside: further models to be compared with.
        """
        workspace = self.workspace
        if not workspace:
            return None
        columns = workspace.columns(self.run_view.branch) if self.run_view and text is not None else []
        models = [*(owner.loaded_model for owner, _ in columns[1:]), *beside]
        self.waiting = None
        try:
            _await_tokenizers(models, text or "")
            branch = begin(workspace)
        except WaitingError as wait:
            self._wait(wait, partial(self.begin, begin, text=text, beside=beside))
            return None
        except TuiGenError as fault:
            self._tell(str(fault))
            return None
        for loaded_model in models:
            self._stand_beside(branch, loaded_model)
        goes_alone = branch.start.parent and self.runs and self.runs.others
        self._tell(workspace.take_fault())
        await self.show(branch, start=True)
        if goes_alone:
            name = workspace.loaded_model.card.name
            self.notify(f"a new branch of {name} alone; the list of branches leads back to the comparison")
        return branch

    async def start(self, text: str, *, beside: Sequence[LoadedModel] = ()) -> Branch | None:
        """Begins a branch from a prompt, as `begin` does."""
        knobs = self.knobs
        return await self.begin(
            lambda workspace: workspace.start(
                text, samples=knobs.samples, params=knobs.params, seed=knobs.seed, length=knobs.length
            ),
            text=text,
            beside=beside,
        )

    async def sweep(self, text: str, knob: str) -> Branch | None:
        """The same at several values of a knob."""
        knobs = self.knobs
        return await self.begin(
            lambda workspace: workspace.sweep(text, knob, params=knobs.params, seed=knobs.seed, length=knobs.length),
            text=text,
        )

    async def complete(self, text: str, levels: Tokens, samples: int) -> None:
        """Draws what is FREE of a picture [height, width(, 3)], so many times. text: the prompt."""
        knobs = self.knobs
        await self.begin(
            lambda workspace: workspace.complete(text, levels, samples=samples, params=knobs.params, seed=knobs.seed),
            text=text,
        )

    async def resample(self) -> None:
        """A branch that is made anew from the cursor on."""
        view = self.run_view
        if not view or (position := view.position) is None:
            return
        is_alone = not (self.runs and self.runs.others)
        branch = await self.begin(lambda workspace: workspace.resample(view.branch, position, self.knobs.params))
        if branch and is_alone:
            same = branch.start.seed == view.branch.start.seed
            self.notify("a new branch: " + ("same noise, knobs as they are" if same else f"seed {branch.start.seed}"))

    async def replace(self, tokens: list[int]) -> None:
        """A branch in which other tokens stand from the cursor on."""
        view = self.run_view
        if not view or (position := view.position) is None:
            return
        branch, sample = view.branch, view.sample
        if position < len(branch) and tokens == [branch.tokens[position, sample]]:
            self.notify("that is what stands there already")
        else:
            await self.begin(
                lambda workspace: workspace.replace_tokens(branch, position, sample, tokens, self.knobs.params)
            )

    async def compare_branches(self, name: str) -> None:
        """Shows another branch beside the one that is shown."""
        from tui_gen.tui.widgets.comparison import Comparison

        view, workspace = self.run_view, self.workspace
        if not view or not workspace or name not in workspace.tree:
            return
        if name == view.branch.name:
            self.notify("that is the branch on the screen; choose another one to compare it with")
            return
        other = workspace.tree[name]
        if self.sample >= other.samples:
            self.notify(f"branch {name} has no sample {self.sample + 1} to compare; another one here can be")
            return
        comparison = Comparison(view.branch, other, workspace.loaded_model, self.sample, self.rendering)
        await self._put(comparison)
        self.compared = view.branch
        comparison.focus()

    # --- other models beside this one ---

    async def compare_models(self, loaded_model: LoadedModel, text: str) -> Branch | None:
        """Shows how another model goes on from the same prompt, with the same random numbers and knobs.

        text: the prompt as it stands now. Returns the branch that this begins, if it does.
        """
        workspace, view = self.workspace, self.run_view
        if not workspace:
            return None
        if loaded_model is workspace.loaded_model:
            self.notify("that is the model on the screen; choose another one to compare it with")
            return None
        columns = workspace.columns(view.branch) if view else []
        models = [owner.loaded_model for owner, _ in columns] or [workspace.loaded_model]
        try:
            check_beside([*models, loaded_model], self.screen.size.width)
            _await_tokenizers([loaded_model], text)
            if not view or view.branch.start.parent or view.branch.start.text != text:
                loaded_model.codec.prompt([text])
                return await self.start(text, beside=[loaded_model])
        except WaitingError as wait:
            self._wait(wait, partial(self.compare_models, loaded_model, text))
            return None
        except TuiGenError as fault:
            self._tell(str(fault))
            return None
        if self._stand_beside(view.branch, loaded_model):
            await self._go_on_beside(view)
        return None

    async def _go_on_beside(self, view: RunView) -> None:
        """Shows another model beside a branch; what ran goes on, what rests is caught up with."""
        goes_on = view.running and not view.paused
        await self.show(view.branch, start=goes_on)
        if self.runs and not goes_on:
            self.runs.catch_up(self.knobs.rate)

    def _stand_beside(self, branch: Branch, loaded_model: LoadedModel) -> bool:
        """Begins the same with another model; False where that cannot be."""
        workspace, codec = self.workspace, loaded_model.codec
        assert workspace
        try:
            workspace.compare(branch, loaded_model)
        except TuiGenError as fault:
            self._tell(str(fault))
            return False
        text = branch.start.text
        if unknown := ", ".join(dict.fromkeys(text[start:end] for start, end in codec.unknown(text))):
            self.notify(f"{loaded_model.card.name} reads as unknown: {unknown}")
        return True

    # --- the run and the cursor ---

    def pause(self) -> None:
        """Pauses, or goes on; what rests becomes longer."""
        if self.runs and not self.runs.toggle_pause(self.knobs.length, self.knobs.rate):
            self.notify("the picture is complete")

    def walk(self, by: int) -> None:
        """Moves the cursor; from behind the last token on, makes one more."""
        view, runs = self.run_view, self.runs
        if not view or not runs:
            return
        if by == 1 and view.behind_the_end and not view.running:
            if view.branch.ended:
                self.notify("it has come to its end; choose another token before it")
            elif not runs.grow(1, self.knobs.rate):
                self.notify("the picture is complete")
        elif not runs.walk(by):
            self.notify("here it ends; another token here, or before, begins a branch")

    async def step_back(self) -> bool:
        """Leaves what is to begin, the comparison, the cursor, the run or the other models; False if there is none."""
        view, runs = self.run_view, self.runs
        if self.waiting:
            self.waiting = None
        elif self.compared:
            await self.show(self.compared)
        elif view and view.leave_cursor():
            pass
        elif runs and runs.running:
            runs.stop()
        elif runs and runs.others and self.workspace:
            self.workspace.separate(runs.first.branch)
            await self.show(runs.first.branch)
        else:
            return False
        return True

    # --- how it is drawn ---

    def turn_rendering(self) -> bool:
        """Draws pictures in another way; False if there are none."""
        self.rendering = RENDERINGS[(RENDERINGS.index(self.rendering) + 1) % len(RENDERINGS)]
        views = self.query(ImageView)
        for view in views:
            view.draw_in(self.rendering)
        return bool(views)

    def scroll_page(self, direction: int) -> None:
        """Scrolls what is shown by a page; of several samples all together."""
        widgets: list[Widget] = list(self.children)
        if self.runs:
            widgets = [part for view in self.runs.views for part in (view.views if len(view.views) == 1 else [view])]
        for widget in widgets:
            (widget.scroll_page_down if direction > 0 else widget.scroll_page_up)(animate=False)

    def _wait(self, wait: WaitingError, begin: Callable[[], Awaitable[Branch | None]]) -> None:
        """Lets something begin once a tokenizer has read what it needs."""
        self.waiting = ready = self.Ready(begin)
        wait.when_known(partial(self.post_message, ready))
        self.notify(f"{wait}; when it has, this begins")

    def _tell(self, fault: str) -> None:
        if fault:
            self.notify(fault, severity="error")


def _await_tokenizers(models: Sequence[LoadedModel], text: str) -> None:
    """Raises WaitingError where a tokenizer still reads a prompt. What else is wrong with it shows when it is used."""
    for loaded_model in models:
        try:
            loaded_model.codec.unknown(text)
            loaded_model.codec.prompt([text])
        except WaitingError:
            raise
        except TuiGenError:
            continue
