"""The knobs that a person can turn, and how far the run is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tui_gen.sampling.knobs import Knob
from tui_gen.terminal_text import scrub_line
from tui_gen.tui.widgets.cells import Window, fit, gauge, part_style
from tui_gen.tui.widgets.text_view import WrappedText

_CURSOR = "▌"
_LONGEST_TYPED = 19
SELECTED = "▸"
GAUGED = "temperature"
"""The knob that has a gauge."""
_LABEL = 11
"""Cells of the longest label."""
_LONGEST_GAUGE = 20
_LEAST_GAUGE = 5
_LATER = (" next run", " next")
"""What follows a value that does not count yet."""


class KnobPanel(Widget, can_focus=True):
    """All knobs, a line each, and the progress of the run below them.

    The selected knob is the one that is turned; with the focus it can be typed, and its line says what it does.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"knob-panel--selected", "knob-panel--faint"}
    DEFAULT_CSS = """
    KnobPanel {
        height: 10;
        border-top: solid $foreground 20%;
        border-title-color: $text-muted;
        &:focus {
            height: 14;
            border-top: solid $accent;
            border-title-color: $text-accent;
            border-title-style: bold;
        }
        & > .knob-panel--selected { text-style: bold; }
        & > .knob-panel--faint { color: $text-muted; }
    }
    """
    BORDER_TITLE = " knobs "
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "select(-1)", show=False),
        Binding("down", "select(1)", show=False),
        Binding("left", "turn(-1)", show=False),
        Binding("right", "turn(1)", show=False),
        Binding("backspace", "take_back", show=False),
        Binding("delete", "reset", show=False),
        Binding("enter", "enter_typed", show=False),
        Binding("escape", "drop_typed", show=False),
    ]

    @dataclass
    class Turned(Message):
        """A person turns a knob by one step: up (1) or down (-1)."""

        name: str
        direction: int

    @dataclass
    class Reset(Message):
        """A person wants a knob's default."""

        name: str

    @dataclass
    class Typed(Message):
        """A person typed a value: digits, perhaps a point; it may be out of the knob's range."""

        name: str
        text: str

    def __init__(self) -> None:
        super().__init__()
        self._knobs, self._names = dict[str, Knob](), list[str]()
        self._values: Mapping[str, float] = {}
        self._later: Collection[str] = ()
        self._typed = ""
        self._window = Window()
        self._ink = self._chosen = self._faint = Style()
        self.progress = ""

    @property
    def selected(self) -> str:
        """The name of the knob that is turned by hand; at first the temperature."""
        return self._names[self._window.selected] if self._knobs else GAUGED

    @property
    def typing(self) -> bool:
        """Whether a value is being typed, which escape leaves."""
        return bool(self._typed)

    def serve(self, knobs: Mapping[str, Knob]) -> None:
        """Lists a model's knobs, by name; the selected one stays selected."""
        name = self.selected
        self._knobs, self._names = dict(knobs), list(knobs)
        self.select(name)

    def show(self, values: Mapping[str, float], *, changed_for_next: Collection[str] = ()) -> None:
        """Shows the knobs as they are. changed_for_next: names of those whose value counts from the next run on."""
        if (values, changed_for_next) != (self._values, self._later):
            self._values, self._later = dict(values), frozenset(changed_for_next)
            self.refresh()

    def show_progress(self, progress: str) -> None:
        """Shows how far the run is; only its line is drawn again."""
        if progress != self.progress:
            self.progress = progress
            self.refresh(Region(0, self._rows, self.size.width, 1))

    def select(self, name: str) -> None:
        """Selects a knob; nothing if there is none of that name."""
        if name in self._knobs:
            self._select(self._names.index(name))

    def on_resize(self) -> None:
        """The selected line stays in sight."""
        self._select(self._window.selected)

    def on_blur(self) -> None:
        """What was not finished is not typed."""
        self._typed = ""

    def on_click(self, event: events.Click) -> None:
        """Selects the line that was clicked."""
        offset = event.get_content_offset(self)
        if offset is not None and offset.y < self._rows:
            self._select(self._window.top + offset.y)

    def on_key(self, event: events.Key) -> None:
        """Digits type a value."""
        typed = event.character or ""
        if self._knobs and typed.isascii() and (typed.isdigit() or (typed == "." and "." not in self._typed)):
            event.stop()
            self._type((self._typed + typed)[:_LONGEST_TYPED])

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that only mean something while a value is typed mean what they mean elsewhere at other times."""
        if action in {"enter_typed", "drop_typed"}:
            return self.typing
        return bool(self._knobs)

    def action_select(self, by: int) -> None:
        """Selects another knob."""
        self._select(self._window.selected + by)

    def action_turn(self, direction: int) -> None:
        """Turns the selected knob."""
        self._type("")
        self.post_message(self.Turned(self.selected, direction))

    def action_take_back(self) -> None:
        """Takes the last digit back, or resets the knob."""
        if self.typing:
            self._type(self._typed[:-1])
        else:
            self.action_reset()

    def action_reset(self) -> None:
        """Asks for the default of the selected knob."""
        self._type("")
        self.post_message(self.Reset(self.selected))

    def action_enter_typed(self) -> None:
        """Asks for the value that was typed."""
        self.post_message(self.Typed(self.selected, self._typed))
        self._type("")

    def action_drop_typed(self) -> None:
        """Leaves the value as it is."""
        self._type("")

    def render_lines(self, crop: Region) -> list[Strip]:
        """Asks once for what all lines are drawn in: it is computed each time."""
        parts = (part_style(self, f"knob-panel--{name}") for name in ("selected", "faint"))
        self._ink, self._chosen, self._faint = self.rich_style, *parts
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """A knob, the progress, or a line of what the selected knob does."""
        text, style = self._line(y)
        return Strip([Segment(text, style)]).adjust_cell_length(self.size.width, style)

    def _line(self, y: int) -> tuple[str, Style]:
        number = self._window.top + y
        if y < self._rows:
            selected = number == self._window.selected
            style = self._chosen if selected else self._ink
            reverse = Style(reverse=selected and self.has_focus)
            return self._knob_line(self._names[number], selected=selected), style + reverse
        if y == self._rows:
            return f"  {fit(scrub_line(self.progress), max(1, self.size.width - 2))}", self._ink
        below = y - self._rows - 1
        told = self._explained() if self.has_focus and self._knobs else []
        return told[below] if below < len(told) else "", self._faint

    def _knob_line(self, name: str, *, selected: bool) -> str:
        typed = self._typed + _CURSOR if selected and self._typed else ""
        value, later = self._values.get(name), name in self._later
        return knob_line(self._knobs[name], value, typed, width=self.size.width, selected=selected, later=later)

    def _explained(self) -> Sequence[str]:
        width, height = self.size
        return explanation(self._knobs[self.selected].told, width=width, room=height - self._rows - 1)

    def _type(self, text: str) -> None:
        if text != self._typed:
            self._typed = text
            self.refresh()

    def _select(self, number: int) -> None:
        self._typed = ""
        self._window.select(number, count=len(self._knobs), room=self._rows)
        self.refresh()

    @property
    def _rows(self) -> int:
        """Lines for knobs; one is left to the progress."""
        return min(len(self._knobs), max(0, self.size.height - 1))


def knob_line(
    knob: Knob, value: float | None, typed: str = "", *, width: int, selected: bool = False, later: bool = False
) -> str:
    """A knob in one line; without columns, where its value is too long for them.

    value: None where it is not known. typed: what is shown in its place. later: whether the value counts from the next
    run on only, which is said even where the value must be cut.
    """
    shown = typed or ("" if value is None else _shown(knob, value, later=later, width=width))
    mark = SELECTED if selected else " "
    columns = f"{mark} {knob.label:{_LABEL}} {shown}"
    return fit(columns if cell_len(columns) <= width else f"{mark} {knob.label} {shown}", width)


def explanation(text: str, *, width: int, room: int) -> Sequence[str]:
    """A sentence in at most so many lines; a cut is marked."""
    wrapped = WrappedText(width - 3)
    wrapped.append(text)
    lines = [line.text for line in wrapped.lines]
    if len(lines) > room:
        lines = lines[:room]
        lines[-1:] = [f"{line.rstrip(' ,;:')}…" for line in lines[-1:]]
    return [f"  {line}" for line in lines]


def _shown(knob: Knob, value: float, *, later: bool, width: int) -> str:
    shown = knob.shown(value)
    if later:
        return _said_later(shown, room=width - len(knob.label) - 3)
    return _with_gauge(shown, value / knob.highest, room=width - _LABEL - 4) if knob.name == GAUGED else shown


def _said_later(shown: str, *, room: int) -> str:
    for said in _LATER:
        if len(shown) + len(said) <= room:
            return shown + said
    return fit(shown, max(1, room - len(_LATER[-1]))) + _LATER[-1]


def _with_gauge(shown: str, share: float, *, room: int) -> str:
    cells = min(_LONGEST_GAUGE, room - len(shown) - 1)
    return f"{shown} {gauge(share, cells)}" if cells >= _LEAST_GAUGE else shown
