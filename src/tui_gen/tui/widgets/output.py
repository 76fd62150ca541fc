"""The middle of the screen: a model's card, a branch, also of several models, or two branches that are compared."""

from __future__ import annotations

from collections.abc import Sequence

from textual.containers import Container
from textual.widget import Widget

from tui_gen.generation.branch import Branch
from tui_gen.images.raster import RENDERINGS, Rendering
from tui_gen.sampling.params import SamplingParams
from tui_gen.sessions.workspace import Workspace
from tui_gen.tui.widgets.header import About
from tui_gen.tui.widgets.image_view import ImageView
from tui_gen.tui.widgets.run_view import RunView
from tui_gen.tui.widgets.runs import Runs


class Output(Container):
    """Shows one thing at a time, pictures in the rendering that a person chose last."""

    def __init__(self) -> None:
        super().__init__(id="output")
        self.runs: Runs | None = None
        """The branch, and those of other models beside it; None while a model's card or a comparison is shown."""
        self.compared: Branch | None = None
        """The first branch of the comparison that is shown."""
        self.sample = 0
        """The one that a person looked at last."""
        self.rendering: Rendering = "blocks"

    async def show_card(self, about: str) -> None:
        """Shows a text, such as a model's card."""
        await self._put(About(about))

    @property
    def run_view(self) -> RunView | None:
        """The branch, of several models the first one's."""
        return self.runs.first if self.runs else None

    async def show_branch(
        self, workspace: Workspace, branch: Branch, params: SamplingParams, names: Sequence[str]
    ) -> Runs:
        """Shows a branch, and what stands beside it. params: the knobs, which change while it grows. names: of the
        models.
        """
        views = [
            RunView(
                owner,
                column,
                params=params,
                rendering=self.rendering,
                sample=self.sample,
                beside=None if column is branch else branch,
            )
            for owner, column in workspace.columns(branch)
        ]
        workspace.show(branch)
        runs = Runs(views, names, workspace.comparison(branch))
        await self._put(runs)
        self.runs = runs
        runs.first.focus_sample()
        return runs

    async def compare(self, workspace: Workspace, branch: Branch, other: Branch) -> None:
        """Shows two branches of a model beside each other."""
        from tui_gen.tui.widgets.comparison import Comparison

        comparison = Comparison(branch, other, workspace.loaded_model, self.sample, self.rendering)
        await self._put(comparison)
        self.compared = branch
        comparison.focus()

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

    async def _put(self, widget: Widget) -> None:
        """Replaces what is shown; a run that is there ends."""
        self.runs = self.compared = None
        await self.remove_children()
        await self.mount(widget)
