"""Text as it is written: one sample, wrapped, following its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui_gen.codec import TextReader
from tui_gen.generate import Step
from tui_gen.scrub import scrub
from tui_gen.tui.wrap import Wrapped

CURSOR = "▌"


class TextPage(ScrollView, can_focus=True):
    """Shows the tokens of one sample; the prompt stands out from what the model wrote."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"page--given", "page--cursor"}

    def __init__(self, reader: TextReader, sample: int, samples: int = 1) -> None:
        super().__init__()
        if samples > 1:
            self.border_title = f"sample {sample + 1} of {samples}"
            self.add_class("-several")
        self._reader, self._sample = reader, sample
        self._wrapped = Wrapped(80)
        self._given = 0
        self._running = True

    @property
    def text(self) -> str:
        """What is shown, without line breaks of the wrapping."""
        return self._wrapped.text

    def show_steps(self, steps: Sequence[Step]) -> None:
        """Writes the tokens of these steps."""
        follow = self.is_vertical_scroll_end
        parts = []
        for step in steps:
            if not step.live[self._sample]:
                break
            parts.append(self._reader.read(int(step.tokens[self._sample])))
            if step.given[self._sample]:
                self._given += len(parts[-1])
        first = self._wrapped.append(scrub("".join(parts)).replace("\t", "    "))
        self._lines_changed(first, follow)

    def end(self) -> None:
        """Takes the cursor away."""
        self._running = False
        self._lines_changed(len(self._wrapped.lines) - 1, follow=False)

    def on_resize(self) -> None:
        """Wraps anew."""
        if self._wrapped.width != self._room:
            follow = self.is_vertical_scroll_end
            self._wrapped = self._wrapped.resized(self._room)
            self._lines_changed(0, follow)

    def render_line(self, y: int) -> Strip:
        """One line of the visible part."""
        number = y + self.scroll_offset.y
        if number >= len(self._wrapped.lines):
            return Strip.blank(self.size.width, self.rich_style)
        line = self._wrapped.lines[number]
        given = max(0, min(len(line.text), self._given - line.start))
        segments = [
            Segment(line.text[:given], self.get_component_rich_style("page--given")),
            Segment(line.text[given:], self.rich_style),
        ]
        if self._running and number == len(self._wrapped.lines) - 1:
            segments.append(Segment(CURSOR, self.get_component_rich_style("page--cursor")))
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)

    @property
    def _room(self) -> int:
        return max(1, self.scrollable_content_region.width - 1)  # the last column is the cursor's

    def _lines_changed(self, first: int, follow: bool) -> None:
        self.virtual_size = Size(self._room, len(self._wrapped.lines))
        if follow:
            self.scroll_end(animate=False, immediate=True)
        self.refresh(Region(0, max(0, first - self.scroll_offset.y), self.size.width, self.size.height))
