"""Text as it is written: one sample, wrapped, following its end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, takewhile
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.cache import LRUCache
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui_gen.codec import TextReader
from tui_gen.generate import Step
from tui_gen.scrub import scrub
from tui_gen.tui.wrap import Wrapped

CURSOR = "▌"
_KEPT_LINES = 512
_THUMB_STEPS = 8
"""A scroll bar is drawn in eighths of a cell."""


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
        self._given, self._ink, self._looks = 0, Style(), (Style(), 0, 0)
        self._kept: LRUCache[int, Strip] = LRUCache(_KEPT_LINES)
        self._writing, self._follow, self._thumb = True, True, -1

    @property
    def text(self) -> str:
        """What is shown, without line breaks of the wrapping."""
        return self._wrapped.text

    def show_steps(self, steps: Sequence[Step]) -> None:
        """Writes the tokens of these steps."""
        mine = takewhile(lambda step: step.live[self._sample], steps)
        parts = []
        for given, group in groupby(mine, lambda step: bool(step.given[self._sample])):
            parts.append(self._reader.read_all([int(step.tokens[self._sample]) for step in group]))
            self._given += len(parts[-1]) if given else 0
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
        self._follow = self.is_vertical_scroll_end
        self._move_bar()
        if round(old) != round(new):
            self.refresh(self.size.region)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Asks once for what all lines are drawn in: it is computed each time. Lines that are full are kept."""
        looks = (self.rich_style, self.size.width, self._given)
        if looks != self._looks:
            self._looks, self._ink = looks, looks[0]
            self._kept.clear()
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """One line of the visible part."""
        number = y + self.scroll_offset.y
        if number >= len(self._wrapped.lines):
            return Strip.blank(self.size.width, self._ink)
        grows = number == len(self._wrapped.lines) - 1
        return self._drawn(number, cursor=self._writing) if grows else self._kept_line(number)

    def _kept_line(self, number: int) -> Strip:
        if number not in self._kept:
            self._kept[number] = self._drawn(number)
        return self._kept[number]

    def _drawn(self, number: int, *, cursor: bool = False) -> Strip:
        line = self._wrapped.lines[number]
        given = max(0, min(len(line.text), self._given - line.start))
        segments = [
            Segment(line.text[:given], self.get_component_rich_style("page--given")),
            Segment(line.text[given:], self._ink),
        ]
        if cursor:
            segments.append(Segment(CURSOR, self.get_component_rich_style("page--cursor")))
        return Strip(segments).adjust_cell_length(self.size.width, self._ink)

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
        self._take_size(Size(self._wrapped.width, len(self._wrapped.lines)))
        if grown and self._follow:
            self.scroll_end(animate=False, immediate=True, force=True, x_axis=False)
        self.refresh_lines(first, len(self._wrapped.lines) - first + 1)

    def _take_size(self, size: Size) -> None:
        """The whole screen is laid out anew only where the scroll bar comes or goes; a text grows all the time."""
        fits = size.height <= self.container_size.height
        if size.width != self.virtual_size.width or fits == self.show_vertical_scrollbar:
            self.virtual_size, self._thumb = size, -1
        else:
            self.set_reactive(TextPage.virtual_size, size)
            self._move_bar()

    def _move_bar(self) -> None:
        """Drawing the bar is dear: at the end of the text, only when its thumb would look different."""
        if not self.show_vertical_scrollbar:
            return
        bar, height = self.vertical_scrollbar, self.container_size.height
        thumb = _THUMB_STEPS * height**2 // self.virtual_size.height
        if not self._follow or thumb != self._thumb:
            self._thumb = thumb if self._follow else -1
            bar.window_virtual_size, bar.position = self.virtual_size.height, self.scroll_y
