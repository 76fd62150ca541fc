"""The surprise of a sample: its totals, what the marks in the output mean, and the most surprising tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget
from textual.worker import Worker

from tui_gen.errors import TuiGenError
from tui_gen.generation.describe import shown_token
from tui_gen.scoring.branch_scores import BranchSurprisal
from tui_gen.scoring.score import BANDS
from tui_gen.terminal_text import scrub
from tui_gen.tui.widgets.cells import Window, part_style
from tui_gen.tui.widgets.image_view import ImageView
from tui_gen.tui.widgets.surprisal_rows import (
    Line,
    Look,
    Row,
    first_that_fits,
    heading,
    legend,
    note,
    row_line,
    rows,
    totals_lines,
)
from tui_gen.tui.widgets.text_view import WrappedText

if TYPE_CHECKING:
    from tui_gen.scoring.branch_scores import BranchSurprisal
    from tui_gen.tui.app import TuiGen

_PARTS = ("faint", *(f"band-{number}" for number in range(len(BANDS) + 1)))
_LEAST, _SOME = 3, 5
"""Lines of totals and tokens of the list that are shown first; tokens that go before the long legend."""


class SurprisalPanel(Widget, can_focus=True):
    """With the focus, a token of the list can be selected; enter or a click chooses it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"surprisal-panel--{part}" for part in _PARTS}
    DEFAULT_CSS = """
    SurprisalPanel {
        height: 1fr;
        border-top: solid $foreground 20%;
        border-title-color: $text-muted;
        &:focus {
            border-top: solid $accent;
            border-title-color: $accent;
            border-title-style: bold;
        }
        & > .surprisal-panel--faint { color: $text-muted; }
        & > .surprisal-panel--band-0 { color: $text-muted; }
        & > .surprisal-panel--band-2 { text-style: bold; }
        & > .surprisal-panel--band-3 { text-style: bold underline; }
        & > .surprisal-panel--band-4 { text-style: bold reverse; }
    }
    """
    BORDER_TITLE = "surprise"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "select(-1)", show=False),
        Binding("down", "select(1)", show=False),
        Binding("home", "select_end(-1)", show=False),
        Binding("end", "select_end(1)", show=False),
        Binding("enter", "choose", show=False),
    ]

    @dataclass
    class Chosen(Message):
        """A person wants to see the token at this position of the branch."""

        position: int

    def __init__(self) -> None:
        super().__init__()
        self._about: tuple[int, int, int] | None = None
        self._content: Content | None = None
        self._waiting = ""
        self._window = Window()
        self._ink, self._drawn = Style(), Drawn()

    def show(self, surprise: BranchSurprisal, sample: int, name_of: Callable[[int], str], head: int) -> None:
        """Shows what was read of a sample; costs little when nothing was read since.

        name_of: the text of a token id. head: the first position after the prompt.
        """
        about = (len(surprise), sample, head)
        if self._content and self._content.surprise is surprise and about == self._about:
            return
        kept = self._selected and self._selected.peak[:2]
        totals = totals_lines(surprise.totals(sample), surprise.totals(sample, "given"), surprise.unit)
        self._content = Content(surprise, totals, rows(surprise, surprise.top(sample), name_of, head))
        self._about, self._waiting = about, ""
        self._select(next((at for at, row in enumerate(self._rows) if row.peak[:2] == kept), 0))
        self.refresh()

    def waiting(self, text: str) -> None:
        """Shows why there is nothing to show yet."""
        if self._content or text != self._waiting:
            self._content, self._waiting = None, text
            self.refresh()

    def clear(self) -> None:
        """Shows nothing."""
        self.waiting("")

    def on_resize(self) -> None:
        """The selection stays in sight."""
        self._select(self._window.selected)

    def on_click(self, event: events.Click) -> None:
        """Chooses the token that was hit."""
        at = event.get_content_offset(self)
        if at is not None and at.y in self._drawn.numbers:
            self._select(self._drawn.numbers[at.y])
            self.action_choose()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Where there is no list, keys mean what they mean elsewhere."""
        return bool(self._rows) or action not in {"select", "select_end", "choose"}

    def action_select(self, by: int) -> None:
        """Selects another token."""
        self._select(self._window.selected + by)

    def action_select_end(self, direction: int) -> None:
        """Selects the first or the last token."""
        self._select(len(self._rows) if direction > 0 else 0)

    def action_choose(self) -> None:
        """Chooses the selected token."""
        if self._selected:
            self.post_message(self.Chosen(self._selected.peak.position))

    def render_lines(self, crop: Region) -> list[Strip]:
        """Asks once for what all lines are drawn in, and works out all of them: they share the room."""
        faint, *bands = (part_style(self, f"surprisal-panel--{name}") for name in _PARTS)
        self._ink = self.rich_style
        self._drawn = self._draw(Look(self._ink, faint, bands))
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """A line as it was worked out."""
        line = self._drawn.lines[y] if y < len(self._drawn.lines) else []
        return Strip(line).adjust_cell_length(self.size.width, self._ink)

    def _draw(self, look: Look) -> Drawn:
        if self._content:
            return draw(self._content, size=self.size, look=look, window=self._window, focused=self.has_focus)
        wrapped = WrappedText(max(1, self.size.width - 2))
        wrapped.append(scrub(self._waiting))
        return Drawn([[Segment(f" {line.text}", look.faint)] for line in wrapped.lines])

    @property
    def _rows(self) -> Sequence[Row]:
        return self._content.rows if self._content else ()

    @property
    def _selected(self) -> Row | None:
        return self._rows[self._window.selected] if self._rows else None

    def _select(self, number: int) -> None:
        if self._content and self._rows:
            room = planned(self._content, self.size.height).tokens
            self._window.select(number, count=len(self._rows), room=room)
            self.refresh()


@dataclass(frozen=True)
class Content:
    """What there is to say about a sample."""

    surprise: BranchSurprisal
    totals: Sequence[str | Sequence[str]]
    """The most important first, each in one or several wordings."""
    rows: Sequence[Row]
    """The most surprising first."""


@dataclass
class Plan:
    """How many lines each part gets."""

    totals: int
    tokens: int
    legend: int = 1
    heading: int = 0
    note: int = 0
    gaps: int = 0


@dataclass(frozen=True)
class Drawn:
    """The lines of the panel, from the top."""

    lines: Sequence[Line] = ()
    numbers: dict[int, int] = field(default_factory=dict)
    """Which token of the list stands in a line."""


def planned(content: Content, height: int) -> Plan:
    """Gives each part its share: first what matters most."""
    most, totals = len(content.rows), len(content.totals)
    plan = Plan(totals=min(totals, _LEAST), tokens=min(most, _LEAST))
    spare = height - plan.totals - plan.tokens - plan.legend
    wanted = (
        ("heading", min(most, 1), False),
        ("tokens", min(most, _SOME) - plan.tokens, False),
        ("totals", totals - plan.totals, False),
        ("legend", 4, True),
        ("tokens", most - min(most, _SOME), False),
        ("note", int(bool(note(content.rows))), True),
        ("gaps", 2, True),
    )
    for part, lines, whole in wanted:
        more = max(0, min(spare, lines)) if not whole or lines <= spare else 0
        setattr(plan, part, getattr(plan, part) + more)
        spare -= more
    return plan


def draw(content: Content, *, size: Size, look: Look, window: Window, focused: bool) -> Drawn:
    """All lines. window: the part of the list that is in sight, and which of its tokens is selected."""
    plan, image, unit = planned(content, size.height), content.surprise.image, content.surprise.unit
    gap = [list[Segment]()] * (plan.gaps // 2)
    said = [first_that_fits(words, max(1, size.width - 1)) for words in content.totals[: plan.totals]]
    lines = [[Segment(f" {words}", look.ink)] for words in said]
    lines += [*gap, *legend(image, look, tall=plan.legend > 1), *gap]
    lines += [heading(image, unit, size.width, look.faint)] * plan.heading
    in_sight = range(window.top, min(window.top + plan.tokens, len(content.rows)))
    numbers = dict(enumerate(in_sight, start=len(lines)))
    lines += _list(content.rows, in_sight, look, width=size.width, selected=window.selected if focused else -1)
    lines += [[Segment(f" {note(content.rows)}", look.faint)]] * plan.note
    return Drawn(lines, numbers)


def _list(rows: Sequence[Row], in_sight: range, look: Look, *, width: int, selected: int) -> list[Line]:
    places = max((cell_len(row.place) for row in rows), default=0)
    return [row_line(rows[at], width=width, places=places, selected=at == selected, look=look) for at in in_sight]


class Surprising:
    """Reads along with the branch on the stage while it is switched on, beside the screen."""

    def __init__(self, desk: TuiGen) -> None:
        self._desk = desk
        self._surprise: BranchSurprisal | None = None
        self._worker: Worker[None] | None = None

    @property
    def panel(self) -> SurprisalPanel:
        """Where the totals stand."""
        return self._desk.side.surprise

    @property
    def on(self) -> bool:
        """Whether it is switched on."""
        return bool(self.panel.display)

    def toggle(self) -> None:
        """On, or off."""
        self._switch(not self.on)

    def hide(self) -> None:
        """Off."""
        if self.on:
            self._switch(False)

    def follow(self, *, anew: bool = False) -> None:
        """There is more to read; anew: another branch is on the stage."""
        stage = self._desk.stage
        if not self.on or not stage.branch or not stage.workspace:
            return
        if anew or self._surprise is None or self._surprise.branch is not stage.branch:
            from tui_gen.scoring.branch_scores import BranchSurprisal

            self._surprise = BranchSurprisal(stage.branch, stage.workspace.loaded_model.codec)
            self.panel.clear()
            self.panel.waiting("reading ...")
        if self._surprise.behind and not (self._worker and self._worker.is_running):
            surprise = self._surprise
            self._worker = self._desk.run_worker(lambda: self._read(surprise), thread=True, exit_on_error=False)
        else:
            self.show()

    def show(self) -> None:
        """What is known so far."""
        surprise, stage = self._surprise, self._desk.stage
        if not (self.on and surprise and stage.player and stage.workspace) or surprise.branch is not stage.branch:
            return
        sample, codec = self._desk.walking.sample, stage.workspace.loaded_model.codec
        self.panel.show(surprise, sample, lambda token: shown_token(token, codec), stage.player.head)
        for view in stage.player.views:
            view.show_bits(surprise.pixels() if isinstance(view, ImageView) else surprise.bits[:, view.sample])

    def _switch(self, on: bool) -> None:
        desk = self._desk
        self.panel.display, desk.next_token.display = on, not on
        if on:
            self.follow(anew=True)
            return
        self._surprise = None
        for view in desk.stage.player.views if desk.stage.player else ():
            view.show_bits(None)

    def _read(self, surprise: BranchSurprisal) -> None:
        """In a thread."""
        try:
            surprise.update(lambda: self._surprise is not surprise)
        except TuiGenError as fault:
            self._desk.call_from_thread(self._desk.complain, str(fault))
        else:
            self._desk.call_from_thread(self._read_on, surprise)

    def _read_on(self, surprise: BranchSurprisal) -> None:
        self._worker = None
        if surprise is self._surprise:
            self.show()
            self.follow()
