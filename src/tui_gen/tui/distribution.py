"""The distribution that the newest token was drawn from, as bars."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui_gen.codec import ImageCodec, TextCodec
from tui_gen.generate import Step
from tui_gen.raster import hexadecimal
from tui_gen.scrub import scrub_line
from tui_gen.tui.bars import bar, fit

_MAX_LABEL_CELLS = 12
_PERCENT_CELLS = 7


class NextToken(Widget):
    """The likeliest tokens for the newest position of the first sample; a mark shows which one was drawn."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"next-token--bar", "next-token--drawn", "next-token--faint"}
    BORDER_TITLE = "next token"

    def __init__(self) -> None:
        super().__init__()
        self._codec: TextCodec | ImageCodec | None = None
        self._step: Step | None = None
        self._place = 0
        self._ink = self._bar = self._drawn = self._faint = Style()
        self._order: list[int] = []

    def clear(self, codec: TextCodec | ImageCodec) -> None:
        """Shows nothing until a step comes; codec names the tokens."""
        self._codec, self._step = codec, None
        self.border_title = f"next {codec.unit}"
        self.refresh()

    def show_step(self, step: Step, place: int) -> None:
        """Shows the distribution of this step; place counts from the prompt's end."""
        self._step, self._place = step, place
        probs = step.probs[0]
        self._order = [int(token) for token in step.likeliest(max(1, self.size.height))]
        drawn = int(step.tokens[0])
        if drawn not in self._order and drawn < len(probs):
            self._order[-1] = drawn  # a surprise is shown below the likeliest
        self.refresh()

    def render_lines(self, crop: Region) -> list[Strip]:
        """Asks once for what all lines are drawn in: it is computed each time."""
        parts = (self.get_component_rich_style(f"next-token--{part}") for part in ("bar", "drawn", "faint"))
        self._ink, self._bar, self._drawn, self._faint = self.rich_style, *parts
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """One token: its text or colour, a bar, its probability after all knobs."""
        width = self.size.width
        if self._step is None or y >= len(self._order):
            return Strip.blank(width, self._ink)
        return Strip(self._row(self._order[y], width)).adjust_cell_length(width, self._ink)

    def _row(self, token: int, width: int) -> list[Segment]:
        assert self._step is not None
        assert self._codec is not None
        probability = float(self._step.probs[0, token])
        drawn = token == self._step.tokens[0]
        style = self._ink
        marked = self._faint if probability == 0 else self._drawn if drawn else style
        label = min(_MAX_LABEL_CELLS, width // 3)
        room = max(1, width - 2 - label - 1 - _PERCENT_CELLS)
        return [
            Segment("▸ " if drawn else "  ", marked),
            *self._label(token, label, marked),
            Segment(" ", style),
            Segment(bar(probability, room), self._bar),
            Segment(_percent(probability), marked),
        ]

    def _label(self, token: int, cells: int, style: Style) -> list[Segment]:
        assert self._codec is not None
        text = scrub_line(self._codec.token_text(token)).replace(" ", "␣")
        colour = self._codec.token_colour(token, self._place)
        if colour is None:
            return [Segment(fit(text, cells), style)]
        swatch = style + Style(color=hexadecimal(colour))
        return [Segment("██ ", swatch), Segment(fit(text, max(1, cells - 3)), style)]


def _percent(probability: float) -> str:
    """Seven cells; what is possible never looks impossible."""
    return "  <0.1%" if 0 < probability < 0.0005 else f" {100 * probability:5.1f}%"
