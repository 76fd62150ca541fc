"""Text as it is written: one sample, wrapped, following its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from textual.geometry import Size
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
        self._writing, self._follow = True, True

    @property
    def text(self) -> str:
        """What is shown, without line breaks of the wrapping."""
        return self._wrapped.text

    def show_steps(self, steps: Sequence[Step]) -> None:
        """Writes the tokens of these steps."""
        parts = []
        for step in steps:
            if not step.live[self._sample]:
                break
            parts.append(self._reader.read(int(step.tokens[self._sample])))
            if step.given[self._sample]:
                self._given += len(parts[-1])
        self._fit_width()
        self._changed_from(self._wrapped.append(scrub("".join(parts)).replace("\t", "    ")))

    def end(self) -> None:
        """Takes the cursor away."""
        self._writing = False
        self._changed_from(len(self._wrapped.lines) - 1)

    def on_resize(self) -> None:
        """Wraps anew."""
        if self._fit_width():
            self._changed_from(0)

    def watch_scroll_y(self, old: float, new: float) -> None:
        """Follows the end of the text, unless a person has scrolled away from it."""
        super().watch_scroll_y(old, new)
        self._follow = self.is_vertical_scroll_end

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
        if self._writing and number == len(self._wrapped.lines) - 1:
            segments.append(Segment(CURSOR, self.get_component_rich_style("page--cursor")))
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)

    def _fit_width(self) -> bool:
        """Wraps the text anew if the room is not what it was wrapped for; one column is left to the cursor."""
        room = max(1, self.scrollable_content_region.width - 1)
        if self._wrapped.width == room:
            return False
        self._wrapped = self._wrapped.resized(room)
        self.refresh()
        return True

    def _changed_from(self, first: int) -> None:
        """Lines from this one on are new: only they are painted again, and their end is scrolled to."""
        grown = len(self._wrapped.lines) != self.virtual_size.height
        self.virtual_size = Size(self._wrapped.width, len(self._wrapped.lines))
        if grown and self._follow:
            self.scroll_end(animate=False, immediate=True, force=True, x_axis=False)
        self.refresh_lines(first, len(self._wrapped.lines) - first + 1)
