"""Two branches beside each other, and what differs."""

from __future__ import annotations

from typing import Any, Self

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from tui_gen.branch import Branch
from tui_gen.codec import ImageCodec
from tui_gen.comparing import compared_pictures, marked, picture_summary, text_summary
from tui_gen.describing import Codec, describe
from tui_gen.library import Playable
from tui_gen.raster import Rendering
from tui_gen.scrub import scrub_line
from tui_gen.tree import differences
from tui_gen.tui.canvas import Canvas
from tui_gen.tui.two_texts import TwoTexts


class Comparison(Vertical):
    """What differs in a line, and below it two texts, or two pictures with a third of the pixels that differ."""

    DEFAULT_CSS = """
    Comparison {
        height: 100%;
    }
    Comparison > Static {
        height: auto;
        padding: 0 1;
        color: $text-muted;
    }
    Comparison > Canvas > .canvas--caption {
        color: $text-muted;
    }
    """

    def __init__(
        self, one: Branch, other: Branch, playable: Playable, sample: int = 0, rendering: Rendering = "blocks"
    ) -> None:
        """Compares what the branches have made up to now; sample: of several ones, which."""
        super().__init__()
        self.names = one.name, other.name
        codec = playable.codec
        captions = [_caption(branch, codec, parent) for branch, parent in ((one, other), (other, one))]
        if isinstance(codec, ImageCodec):
            picture = compared_pictures(one, other, codec.image, sample)
            summary = picture_summary(picture.rgb)
            self.view: Canvas | TwoTexts = Canvas(picture, rendering, [*captions, "white: what differs"])
        else:
            differ = differences(one, other, sample)
            summary = text_summary(one, other, codec, sample)
            texts = [marked(branch, codec, differ, sample) for branch in (one, other)]
            self.view = TwoTexts(texts[0], texts[1], (captions[0], captions[1]))
        self.summary = scrub_line(summary)

    def compose(self) -> ComposeResult:
        """The line, and what scrolls."""
        yield Static(self.summary, markup=False)
        yield self.view

    def focus(self, scroll_visible: bool = True) -> Self:
        """Gives the focus to what scrolls."""
        self.view.focus(scroll_visible)
        return self

    def scroll_page_down(self, **options: Any) -> None:
        """Scrolls both by a page."""
        self.view.scroll_page_down(**options)

    def scroll_page_up(self, **options: Any) -> None:
        """Scrolls both back by a page."""
        self.view.scroll_page_up(**options)

    def on_canvas_clicked(self, event: Canvas.Clicked) -> None:
        """A comparison is only looked at: no cursor goes into these pictures."""
        event.stop()

    def draw_in(self, rendering: Rendering) -> None:
        """Draws pictures in another way."""
        if isinstance(self.view, Canvas):
            self.view.draw_in(rendering)


def _caption(branch: Branch, codec: Codec, parent: Branch) -> str:
    """parent: may be the one that it left."""
    left = parent if branch.begun.parent == parent.name else None
    return scrub_line(f"{branch.name}  {describe(branch, codec, left)}")
