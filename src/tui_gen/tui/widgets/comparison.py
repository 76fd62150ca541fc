"""The comparison of two branches: side by side, with what differs marked."""

from __future__ import annotations

from itertools import groupby
from typing import Any, ClassVar, Self

from rich.segment import Segment
from rich.style import Style
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Static

from tui_gen.generation.branch import Branch
from tui_gen.generation.describe import (
    Marked,
    compared_pictures,
    describe,
    marked,
    picture_summary,
    text_summary,
)
from tui_gen.generation.tree import differences
from tui_gen.images.codec import ImageCodec
from tui_gen.images.raster import Rendering
from tui_gen.library import LoadedModel
from tui_gen.terminal_text import scrub_line
from tui_gen.text.codec import Codec
from tui_gen.tui.widgets.cells import fit, part_style
from tui_gen.tui.widgets.image_view import ImageView
from tui_gen.tui.widgets.text_view import TextLine, WrappedText

_LEAST_COLUMN = 26
"""Cells that a text needs to stand beside another one."""
_GAP = " │ "


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
    Comparison > ImageView > .image-view--caption {
        color: $text-muted;
    }
    """

    def __init__(
        self, one: Branch, other: Branch, loaded_model: LoadedModel, sample: int = 0, rendering: Rendering = "blocks"
    ) -> None:
        """Compares what the branches have made up to now; sample: of several ones, which."""
        super().__init__()
        self.names = one.name, other.name
        codec = loaded_model.codec
        captions = [_caption(branch, codec, parent) for branch, parent in ((one, other), (other, one))]
        if isinstance(codec, ImageCodec):
            picture = compared_pictures(one, other, codec.image, sample)
            summary = picture_summary(picture.rgb)
            self.view: ImageView | TwoTexts = ImageView(picture, rendering, [*captions, "white: what differs"])
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

    def on_image_view_clicked(self, event: ImageView.Clicked) -> None:
        """A comparison is only looked at: no cursor goes into these pictures."""
        event.stop()

    def draw_in(self, rendering: Rendering) -> None:
        """Draws pictures in another way."""
        if isinstance(self.view, ImageView):
            self.view.draw_in(rendering)


def _caption(branch: Branch, codec: Codec, parent: Branch) -> str:
    """parent: may be the one that it left."""
    origin = parent if branch.start.parent == parent.name else None
    return scrub_line(f"{branch.name}  {describe(branch, codec, origin)}")


class TwoTexts(ScrollView, can_focus=True):
    """Two texts that scroll together, a fixed heading above each; characters that differ are underlined."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"two-texts--heading", "two-texts--differs", "two-texts--rule"}
    DEFAULT_CSS = """
    TwoTexts {
        height: 1fr;
        padding: 0 1;
        background: $background;
        scrollbar-gutter: stable;
        scrollbar-size-vertical: 1;
        overflow-x: hidden;
        overflow-y: auto;
    }
    TwoTexts > .two-texts--heading {
        color: $text-muted;
        text-style: bold;
    }
    TwoTexts > .two-texts--differs {
        color: $text-accent;
        text-style: bold underline;
    }
    TwoTexts > .two-texts--rule {
        color: $text-disabled;
    }
    """

    def __init__(self, one: Marked, other: Marked, headings: tuple[str, str]) -> None:
        super().__init__()
        self._texts, self._headings = (one, other), headings
        self._bodies = (WrappedText(1), WrappedText(1))
        self._ink = self._heading = self._differs = self._rule = Style()

    @property
    def is_stacked(self) -> bool:
        """Whether one text stands below the other."""
        return self.scrollable_content_region.width < 2 * _LEAST_COLUMN + len(_GAP)

    def on_resize(self) -> None:
        """Wraps anew."""
        room = self.scrollable_content_region.width
        column = room if self.is_stacked else (room - len(_GAP)) // 2
        if column != self._bodies[0].width:
            one, other = WrappedText(column), WrappedText(column)
            one.append(self._texts[0].text)
            other.append(self._texts[1].text)
            self._bodies = one, other
        overflow = max(0, max(len(body.lines) for body in self._bodies) - (self._height - 1))
        self.virtual_size = Size(room, self.scrollable_content_region.height + overflow)
        self.refresh()

    def watch_scroll_y(self, old: float, new: float) -> None:
        """Paints both."""
        super().watch_scroll_y(old, new)
        self.refresh()

    def render_lines(self, crop: Region) -> list[Strip]:
        """Asks once for what all lines are drawn in: it is computed each time."""
        parts = (part_style(self, f"two-texts--{name}") for name in ("heading", "differs", "rule"))
        self._ink, self._heading, self._differs, self._rule = self.rich_style, *parts
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """One line of the visible part, of one text or of both."""
        if self.is_stacked:
            number, line = divmod(y, self._height)
            segments = self._line(number, line) if number < 2 else []
        else:
            segments = [*self._line(0, y), Segment(_GAP, self._rule), *self._line(1, y)]
        return Strip(segments).adjust_cell_length(self.size.width, self._ink)

    @property
    def _height(self) -> int:
        """Lines that a text has, its heading among them."""
        height = self.scrollable_content_region.height
        return max(2, height // 2 if self.is_stacked else height)

    def _line(self, number: int, line: int) -> list[Segment]:
        """The heading of a text, or one of its lines."""
        body = self._bodies[number]
        if line == 0:
            return [Segment(fit(self._headings[number], body.width), self._heading)]
        at = self.scroll_offset.y + line - 1
        segments = self._segments(body.lines[at], self._texts[number]) if at < len(body.lines) else []
        return list(Strip(segments).adjust_cell_length(body.width, self._ink))

    def _segments(self, line: TextLine, text: Marked) -> list[Segment]:
        marks = text.marks[line.start : line.start + len(line.text)].tolist()
        parts = groupby(zip(line.text, marks, strict=True), key=lambda character: character[1])
        return [
            Segment("".join(character for character, _ in part), self._differs if differs else self._ink)
            for differs, part in parts
        ]
