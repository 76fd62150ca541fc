"""The panel of the knobs: a line each, what the selected one does, and how far the run is."""

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
from tui_gen.tui.widgets.cells import Window, fit, gauge, part_style, wrap

_CURSOR = "▌"
_LONGEST_INPUT = 19
_SELECTION = "▸"
_KNOB_WITH_GAUGE = "temperature"
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
        Binding("enter", "enter_value", show=False),
        Binding("escape", "drop_value", show=False),
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
        self._input = ""
        self._window, self._in_sight = Window(), range(0)
        self._ink = self._bold = self._faint = Style()
        self.progress = ""

    @property
    def selected(self) -> str:
        """The name of the knob that is turned by hand; at first the temperature."""
        return self._names[self._window.selected] if self._knobs else _KNOB_WITH_GAUGE

    @property
    def typing(self) -> bool:
        """Whether a value is being typed, which escape leaves."""
        return bool(self._input)

    def serve(self, knobs: Mapping[str, Knob]) -> None:
        """Lists a model's knobs, by name; the selected one stays selected."""
        name = self.selected
        self._knobs, self._names = dict(knobs), list(knobs)
        self._select(self._names.index(name) if name in self._knobs else 0)

    def show(self, values: Mapping[str, float], *, changed_for_next: Collection[str] = ()) -> None:
        """Shows the knobs as they are. changed_for_next: names of those whose value counts from the next run on."""
        if (values, changed_for_next) != (self._values, self._later):
            self._values, self._later = dict(values), frozenset(changed_for_next)
            self.refresh()

    def show_progress(self, progress: str) -> None:
        """Shows how far the run is; only its line is drawn again."""
        if progress != self.progress:
            self.progress = progress
            self.refresh(Region(0, self._room, self.size.width, 1))

    def select(self, name: str) -> None:
        """Selects a knob; nothing if there is none of that name."""
        if name in self._knobs:
            self._select(self._names.index(name))

    def on_blur(self) -> None:
        """What was not finished is not typed."""
        self._input = ""

    def on_click(self, event: events.Click) -> None:
        """Selects the line that was clicked."""
        offset = event.get_content_offset(self)
        if offset is not None and offset.y < len(self._in_sight):
            self._select(self._in_sight[offset.y])

    def on_key(self, event: events.Key) -> None:
        """Digits type a value."""
        character = event.character or ""
        is_point = character == "." and "." not in self._input
        if self._knobs and character.isascii() and (character.isdigit() or is_point):
            event.stop()
            self._type((self._input + character)[:_LONGEST_INPUT])

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that only mean something while a value is typed mean what they mean elsewhere at other times."""
        if action in {"enter_value", "drop_value"}:
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
            self._type(self._input[:-1])
        else:
            self.action_reset()

    def action_reset(self) -> None:
        """Asks for the default of the selected knob."""
        self._type("")
        self.post_message(self.Reset(self.selected))

    def action_enter_value(self) -> None:
        """Asks for the value that was typed."""
        self.post_message(self.Typed(self.selected, self._input))
        self._type("")

    def action_drop_value(self) -> None:
        """Leaves the value as it is."""
        self._type("")

    def render_lines(self, crop: Region) -> list[Strip]:
        """Asks once for the styles of all lines, which are computed each time, and for the knobs that have room."""
        parts = (part_style(self, f"knob-panel--{name}") for name in ("selected", "faint"))
        self._ink, self._bold, self._faint = self.rich_style, *parts
        self._in_sight = self._window.rows(count=len(self._knobs), room=self._room)
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """A knob, the progress, or a line of what the selected knob does."""
        text, style = self._line(y)
        return Strip([Segment(text, style)]).adjust_cell_length(self.size.width, style)

    def _line(self, y: int) -> tuple[str, Style]:
        if y < len(self._in_sight):
            name = self._names[self._in_sight[y]]
            selected = name == self.selected
            reverse = Style(reverse=selected and self.has_focus)
            return self._knob_line(name, selected=selected), (self._bold if selected else self._ink) + reverse
        if y == len(self._in_sight):
            return f"  {fit(scrub_line(self.progress), self.size.width - 2)}", self._ink
        lines = self._explanation() if self.has_focus and self._knobs else []
        below = y - len(self._in_sight) - 1
        return lines[below] if below < len(lines) else "", self._faint

    def _knob_line(self, name: str, *, selected: bool) -> str:
        text = self._input + _CURSOR if selected and self._input else ""
        value, later = self._values.get(name), name in self._later
        return knob_line(self._knobs[name], value, text, width=self.size.width, selected=selected, later=later)

    def _explanation(self) -> Sequence[str]:
        room = self.size.height - len(self._in_sight) - 1
        return explanation(self._knobs[self.selected].explanation, width=self.size.width, room=room)

    def _type(self, text: str) -> None:
        if text != self._input:
            self._input = text
            self.refresh()

    def _select(self, number: int) -> None:
        self._input = ""
        self._window.select(number, count=len(self._knobs))
        self.refresh()

    @property
    def _room(self) -> int:
        """Lines for knobs; one is left to the progress."""
        return min(len(self._knobs), max(0, self.size.height - 1))


def knob_line(
    knob: Knob, value: float | None, text: str = "", *, width: int, selected: bool = False, later: bool = False
) -> str:
    """A knob in one line; without columns, where its value is too long for them.

    value: None where it is not known. text: what is shown in its place. later: whether the value counts from the next
    run on only, which is said even where the value must be cut.
    """
    text = text or ("" if value is None else _value_text(knob, value, later=later, width=width))
    mark = _SELECTION if selected else " "
    columns = f"{mark} {knob.label:{_LABEL}} {text}"
    return fit(columns if cell_len(columns) <= width else f"{mark} {knob.label} {text}", width)


def explanation(text: str, *, width: int, room: int) -> Sequence[str]:
    """A sentence in at most so many lines; a cut is marked."""
    lines = wrap(text, width - 3)
    if len(lines) > room:
        lines = lines[: max(0, room)]
        lines[-1:] = [f"{line.rstrip(' ,;:')}…" for line in lines[-1:]]
    return [f"  {line}" for line in lines]


def _value_text(knob: Knob, value: float, *, later: bool, width: int) -> str:
    text = knob.shown(value)
    if later:
        return _with_later(text, room=width - len(knob.label) - 3)
    is_gauge = knob.name == _KNOB_WITH_GAUGE
    return _with_gauge(text, value / knob.highest, room=width - _LABEL - 4) if is_gauge else text


def _with_later(text: str, *, room: int) -> str:
    for suffix in _LATER:
        if len(text) + len(suffix) <= room:
            return text + suffix
    return fit(text, room - len(_LATER[-1])) + _LATER[-1]


def _with_gauge(text: str, share: float, *, room: int) -> str:
    cells = min(_LONGEST_GAUGE, room - len(text) - 1)
    return f"{text} {gauge(share, cells)}" if cells >= _LEAST_GAUGE else text
