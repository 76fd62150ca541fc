"""The middle of the screen: a model's card, a branch, or two branches that are compared."""

from __future__ import annotations

from textual.containers import Container
from textual.widget import Widget

from tui_gen.generation.branch import Branch
from tui_gen.images.raster import RENDERINGS, Rendering
from tui_gen.sampling.params import SamplingParams
from tui_gen.sessions.workspace import Workspace
from tui_gen.tui.widgets.header import About
from tui_gen.tui.widgets.image_view import ImageView
from tui_gen.tui.widgets.run_view import RunView


class Output(Container):
    """Shows one thing at a time, pictures in the rendering that a person chose last."""

    def __init__(self) -> None:
        super().__init__(id="output")
        self.run_view: RunView | None = None
        """The branch; None while a model's card or a comparison is shown."""
        self.compared: Branch | None = None
        """The first branch of the comparison that is shown."""
        self.sample = 0
        """The one that a person looked at last."""
        self.rendering: Rendering = "blocks"

    async def show_card(self, about: str) -> None:
        """Shows a text, such as a model's card."""
        await self._put(About(about))

    async def show_branch(self, workspace: Workspace, branch: Branch, params: SamplingParams) -> RunView:
        """Shows a branch. params: the knobs, which change while it grows."""
        view = RunView(workspace, branch, params=params, rendering=self.rendering, sample=self.sample)
        workspace.show(branch)
        await self._put(view)
        self.run_view = view
        view.focus_sample()
        return view

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
        view = self.run_view
        for widget in view.views if view and len(view.views) == 1 else list(self.children):
            (widget.scroll_page_down if direction > 0 else widget.scroll_page_up)(animate=False)

    async def _put(self, widget: Widget) -> None:
        """Replaces what is shown; a run that is there ends."""
        self.run_view = self.compared = None
        await self.remove_children()
        await self.mount(widget)
