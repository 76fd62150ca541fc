"""The panel of surprisal: totals of a sample, what the marks in the output mean, the most surprising tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from rich.segment import Segment
from rich.style import Style
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.strip import Strip
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from tui_gen.scoring.branch_scores import BranchSurprisal
from tui_gen.terminal_text import scrub
from tui_gen.tui.widgets.candidates import CURSOR
from tui_gen.tui.widgets.cells import wrap
from tui_gen.tui.widgets.surprisal_rows import (
    SWATCH,
    PeakRow,
    first_that_fits,
    heading,
    legend,
    marks_legend,
    peak_rows,
    row_lines,
    totals_lines,
)

_LEAST, _SOME = 3, 5
"""Lines of totals and tokens of the list that are shown first; tokens that go before the long legend."""
_REVERSE = Style(reverse=True)


class SurprisalPanel(Vertical):
    """What there is to say about a sample, as far as it has room, and a list from which a token can be chosen."""

    DEFAULT_CSS = """
    SurprisalPanel {
        height: 1fr;
        border-top: solid $foreground 20%;
        border-title-color: $text-muted;
        &:focus-within {
            border-top: solid $accent;
            border-title-color: $accent;
            border-title-style: bold;
        }
        & > Static { text-wrap: nowrap; }
        & > .-faint { color: $text-muted; }
    }
    """
    BORDER_TITLE = " surprise "

    @dataclass
    class Chosen(Message):
        """A person wants to see the token at this position of the branch."""

        position: int

    def __init__(self) -> None:
        super().__init__()
        self._source: tuple[BranchSurprisal, int, int, int] | None = None
        self._totals, self._rows = list[Sequence[str]](), list[PeakRow]()
        self._reason = ""
        self._text, self._legend = Static(markup=False), Static(markup=False)
        self._heading, self._note = Static(markup=False, classes="-faint"), Static(markup=False, classes="-faint")
        self._peaks = PeakList()

    def compose(self) -> ComposeResult:
        """Totals, legend, list."""
        yield from (self._text, self._legend, self._heading, self._peaks, self._note)

    def show(self, scores: BranchSurprisal, sample: int, name_of: Callable[[int], str], head: int) -> None:
        """Shows what was read of a sample; costs little when nothing was read since.

        name_of: the text of a token id. head: the first position after the prompt.
        """
        source = (scores, len(scores), sample, head)
        if source != self._source:
            self._source = source
            self._totals = totals_lines(scores.totals(sample), scores.totals(sample, "given"), scores.unit)
            self._rows = peak_rows(scores, scores.top(sample), name_of, head)
            self._lay_out()

    def waiting(self, text: str) -> None:
        """Shows why there is nothing to show yet."""
        if self._source or text != self._reason:
            self._source, self._reason = None, text
            self._totals, self._rows = [], []
            self._lay_out()

    def clear(self) -> None:
        """Shows nothing."""
        self.waiting("")

    def focus(self, scroll_visible: bool = True) -> Self:
        """Gives the focus to the list."""
        self._peaks.focus(scroll_visible)
        return self

    def on_resize(self) -> None:
        """Shares the room anew."""
        self._lay_out()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter, or a click."""
        event.stop()
        self.post_message(self.Chosen(int(str(event.option.id))))

    def _lay_out(self) -> None:
        width, height = self.size
        lines = [first_that_fits(wordings, width - 1) for wordings in self._totals]
        counts = line_counts(height, totals=len(lines), tokens=len(self._rows), note=bool(marks_legend(self._rows)))
        if not self._source:
            lines, counts = wrap(scrub(self._reason), width - 2), LineCounts(height, 0, legend=0)
        _fill(self._text, Content("\n".join(f" {line}" for line in lines)), counts.totals)
        self._text.set_class(not self._source, "-faint")
        if self._source:
            image, unit = self._source[0].image, self._source[0].unit
            _fill(self._legend, legend(image, tall=counts.legend > 1), counts.legend)
            _fill(self._heading, Content(heading(image, unit, width)), counts.heading)
        _fill(self._note, Content(f" {marks_legend(self._rows)}"), counts.note)
        self._legend.styles.margin = (counts.gaps // 2, 0)
        self._peaks.styles.height = counts.tokens
        self._peaks.show(row_lines(self._rows, width), [row.peak.position for row in self._rows])


def _fill(part: Static, content: Content, lines: int) -> None:
    part.display = lines > 0
    part.styles.height = lines
    if part.content != content:
        part.update(content, layout=False)


class PeakList(OptionList, inherit_bindings=False):
    """A list of tokens in a line each, whose ends are ends; a sign stands before the selected one."""

    DEFAULT_CSS = """
    PeakList {
        &, &:focus {
            border: none;
            padding: 0;
            background: transparent;
            background-tint: $background 0%;
            scrollbar-size: 0 0;
            text-wrap: nowrap;
        }
        & > .option-list--option { padding: 0; }
        & > .option-list--option-highlighted { color: $foreground; background: transparent; text-style: none; }
        &:focus > .option-list--option-highlighted { color: $foreground; background: transparent; text-style: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "cursor_up", show=False),
        Binding("down", "cursor_down", show=False),
        Binding("home", "first", show=False),
        Binding("end", "last", show=False),
        Binding("enter", "select", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(markup=False)

    def show(self, lines: Sequence[Content], positions: Sequence[int]) -> None:
        """Lists the tokens at these positions of a branch; the selected one stays selected."""
        name = self.highlighted_option and self.highlighted_option.id
        names = [str(position) for position in positions]
        self.set_options(Option(line, id=name) for line, name in zip(lines, names, strict=True))
        self.highlighted = names.index(name) if name in names else 0

    def on_resize(self) -> None:
        """The selection stays in sight."""
        self.scroll_to_highlight()

    def action_cursor_up(self) -> None:
        """The token before."""
        self.highlighted = (self.highlighted or 0) - 1

    def action_cursor_down(self) -> None:
        """The next token."""
        self.highlighted = (self.highlighted or 0) + 1

    def render_line(self, y: int) -> Strip:
        """A token; with the focus, the selected one has the sign and is reversed, except for its colour."""
        strip = super().render_line(y)
        if not (strip and self.has_focus and self.highlighted == self.scroll_offset.y + y):
            return strip
        cursor = Segment(CURSOR, next(iter(strip)).style)
        return Strip(
            segment if segment.text == SWATCH else Segment(segment.text, (segment.style or Style()) + _REVERSE)
            for segment in (cursor, *strip.crop(1))
        )


@dataclass
class LineCounts:
    """How many lines each part gets."""

    totals: int
    tokens: int
    legend: int = 1
    heading: int = 0
    note: int = 0
    gaps: int = 0


def line_counts(height: int, *, totals: int, tokens: int, note: bool) -> LineCounts:
    """Gives each part its share of the lines: first what matters most."""
    counts = LineCounts(totals=min(totals, _LEAST), tokens=min(tokens, _LEAST))
    spare = height - counts.totals - counts.tokens - counts.legend
    shares = (
        ("heading", min(tokens, 1), False),
        ("tokens", min(tokens, _SOME) - counts.tokens, False),
        ("totals", totals - counts.totals, False),
        ("legend", 4, True),
        ("tokens", tokens - min(tokens, _SOME), False),
        ("note", int(note), True),
        ("gaps", 2, True),
    )
    for part, lines, whole in shares:
        more = max(0, min(spare, lines)) if not whole or lines <= spare else 0
        setattr(counts, part, getattr(counts, part) + more)
        spare -= more
    return counts
