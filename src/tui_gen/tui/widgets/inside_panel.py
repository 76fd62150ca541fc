"""What goes on inside the network while the token at the cursor is read: beside the output, or over it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from rich.segment import Segment
from rich.style import Style
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget
from textual.worker import Worker, get_current_worker

from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch
from tui_gen.generation.pacing import Throttle
from tui_gen.tui.bindings import KEYS, Key, bind, bindings_of
from tui_gen.tui.widgets.cells import part_style, wrap
from tui_gen.tui.widgets.inside_drawing import (
    Line,
    Piece,
    cell_lines,
    cut,
    selection,
    state_lines,
    title_line,
)
from tui_gen.tui.widgets.inside_text import (
    influence_lines,
    ranking,
    selected_unit,
    tokens_lines,
    units_lines,
)
from tui_gen.tui.widgets.inside_window import Drawing, Order, Place, Window, measure, read_window
from tui_gen.tui.widgets.lists import Sidebar
from tui_gen.tui.widgets.run_view import RunView

if TYPE_CHECKING:  # what looks inside is loaded when somebody looks
    from tui_gen.inspection.branch_trace import BranchTrace
    from tui_gen.inspection.inside import Inside
    from tui_gen.sessions.workspace import Workspace

Deed = Literal["forget", "hold", "take"]
"""What can be done to a state."""
_BEFORE, _PAST, _EVERY = 256, 128, 64
"""Tokens around the cursor whose inside is computed, at least, and in which steps: so a text moves rarely."""
_DRAW: Mapping[Drawing, Callable[[Window, int, int], list[Line]]] = {
    "state": state_lines,
    "cell": cell_lines,
    "influence": influence_lines,
    "units": units_lines,
    "tokens": tokens_lines,
}
_READ_FOR_IT = ("influence", "tokens")
"""What is drawn there is not known before somebody looks at it."""
_NO_CELLS = "this network has no recurrent cells; 1 shows the features of its layers"
_WHOLE = 10_000
"""Columns that no screen has."""


class InsideView(Widget, can_focus=True):
    """The state of each layer, units over tokens; one cell with its numbers; the text with what a prediction rests on,
    or with the activation of a unit; or how it is split. Computes in a thread.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "inside-view--faint",
        "inside-view--strong",
        "inside-view--positive",
        "inside-view--negative",
    }
    DEFAULT_CSS = """
    InsideView {
        height: 1fr;
        background: $background;
        color: $foreground 80%;
        & > .inside-view--faint { color: $text-muted; }
        & > .inside-view--strong { color: $text; text-style: bold; }
        & > .inside-view--positive { color: $accent; }
        & > .inside-view--negative { color: $success; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings_of("InsideView")

    @dataclass
    class Read(Message):
        """What was computed for a place, if there is no fault."""

        trace: BranchTrace
        place: Place
        window: Window | None
        fault: str = ""

    @dataclass
    class Surgery(Message):
        """A person wants to do something to the state before the token at a position is read."""

        deed: Deed
        branch: Branch
        sample: int
        position: int
        layer: int
        unit: int
        """What is selected, counted from 0."""

    def __init__(self, keys: Sequence[Key] = KEYS) -> None:
        super().__init__()
        bind(self, "InsideView", keys)
        self.drawing: Drawing = "state"
        self._order: Order = "movement"
        self._top = self._layer = self._unit = self._property = 0
        self._pin: int | None = None
        self.view: RunView | None = None
        self._trace: BranchTrace | None = None
        self._inside: Inside | None = None
        self._next: Place | None = None
        self._latest: tuple[BranchTrace, Place] | None = None
        """What is computed, or was last."""
        self._known: tuple[BranchTrace, Place, Window] | None = None
        self._reader: Worker[None] | None = None
        self._looks = Throttle(self._look, self.set_timer, rate=1)
        self._lines: list[Line] = []
        self._styles: dict[object, Style] = {}

    def attend(self, view: RunView | None) -> None:
        """It is about another branch from now on, or about none."""
        self.view, self._next, self._latest = view, None, None
        if view is None:
            self._known = None
            self._draw()

    def begin_anew(self) -> None:
        """Draws the state, with nothing selected, when it looks next."""
        self.drawing, self._order, self._pin = "state", "movement", None
        self._top = self._layer = self._unit = self._property = 0

    def follow(self) -> None:
        """Looks where the cursor stands, or at the newest token, if somebody sees it; rarely while a run goes on."""
        self._looks.ask()
        if not (self.view and self.view.running and self.view.cursor is None):
            self._looks.hurry()

    def _look(self) -> None:
        view = self.view
        if not view or not self.is_on_screen or len(view.branch) < 1:
            return
        from tui_gen.inspection.branch_trace import BranchTrace
        from tui_gen.inspection.inside import Inside

        trace = self._trace
        if trace is None or (trace.branch, trace.sample) != (view.branch, view.sample):
            if self._inside is None or self._inside.model is not view.workspace.loaded_model.model:
                self._inside = Inside(view.workspace.loaded_model.model)
            trace = self._trace = BranchTrace(view.branch, self._inside, view.sample)
        length, position = _place(view)
        first, is_text = max(0, position - _BEFORE) // _EVERY * _EVERY, not view.workspace.loaded_model.card.image
        measures = self.drawing == "influence" and is_text and (view.still or not view.running)
        if self.drawing == "influence" and view.paused and not view.still:
            return  # the run comes to its stop at once, and tells
        past = -(-(position + _PAST) // _EVERY) * _EVERY
        place = Place(position, first, min(length, past), self.drawing, measures)
        if self._latest != (trace, place):
            self._latest, self._next = (trace, place), place
            self._read_on()

    @property
    def is_on_screen(self) -> bool:
        """Whether it and what it lies in are shown."""
        return all(node.display for node in self.ancestors_with_self if isinstance(node, Widget))

    def _read_on(self) -> None:
        if self._trace and self._next and self.view and not (self._reader and not self._reader.is_finished):
            work, self._next = partial(self._read, self._trace, self._next, self.view.workspace), None
            self._reader = self.run_worker(work, thread=True, exit_on_error=False)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """It has time for the next place; a fault of this program is told, and stops nothing."""
        if event.worker is self._reader and event.worker.is_finished:
            if event.worker.error:
                self.notify(f"looking inside failed: {event.worker.error!r}", severity="error")
            self._read_on()

    def _read(self, trace: BranchTrace, place: Place, workspace: Workspace) -> None:
        """In the thread; ends early where another place is asked for."""
        try:
            window = read_window(trace, place, workspace)
            if not place.measures:
                self.post_message(self.Read(trace, place, window))
                return
            for measurement in measure(trace, place, workspace.loaded_model.card.vocab_size):
                self.post_message(self.Read(trace, place, replace(window, influence=measurement)))
                if self._next or get_current_worker().is_cancelled:
                    return
        except TuiGenError as fault:
            self.post_message(self.Read(trace, place, None, str(fault)))

    def on_inside_view_read(self, message: Read) -> None:
        """It is known, and the cursor may stand elsewhere by now."""
        if message.fault:
            self.notify(message.fault, severity="error")
        elif message.window and message.trace is self._trace:
            self._known = message.trace, message.place, message.window
            self._draw()

    # --- keys ---

    def action_draw(self, drawing: Drawing) -> None:
        """What is drawn."""
        self.drawing = drawing
        if drawing not in _READ_FOR_IT:
            self._draw()
        self._look()

    def action_order(self) -> None:
        """Units that move most first, or by their number."""
        self._order, self._top = "number" if self._order == "movement" else "movement", 0
        self._draw()

    def action_layer(self) -> None:
        """The cell, or the units, of the next layer."""
        self._layer, self._pin = self._layer + 1, None
        self._draw()

    def action_units(self, by: int) -> None:
        """Other units: scrolls the strips, looks at the next cell of the layer, or goes through the ranking."""
        if self.drawing == "units":
            self._move_pin(by)
        elif self.drawing in ("state", "cell"):
            self._top, self._unit = max(0, self._top + by), max(0, self._unit + by)
        self._draw()

    def action_property(self) -> None:
        """Units that follow something else in the text."""
        self._property, self._pin = self._property + 1, None
        self._draw()

    def _move_pin(self, by: int) -> None:
        """The unit so many ranks further on."""
        window = self._window()
        if window and (order := ranking(window)) and order.matches:
            units, unit = [match.unit for match in order.matches], selected_unit(window, order)
            at = units.index(unit) + by if unit in units else 0
            self._pin = self._unit = units[max(0, min(len(units) - 1, at))]

    def action_operate(self, deed: Deed) -> None:
        """Asks for surgery on the state where somebody looks."""
        if surgery := self.surgery(deed):
            self.post_message(surgery)

    def surgery(self, deed: Deed) -> Surgery | None:
        """What would be done where somebody looks; None while there is no branch."""
        if not (view := self.view):
            return None
        window = self._window()
        layer, unit = selection(window, self.drawing != "state") if window else (self._layer, self._unit)
        return self.Surgery(deed, view.branch, view.sample, _place(view)[1], layer, unit)

    # --- drawing ---

    def on_resize(self) -> None:
        """Another part of it has room."""
        self._draw()

    def _draw(self) -> None:
        """Draws what has changed."""
        before, self._lines = self._lines, self._content()
        for y in range(max(len(before), len(self._lines))):
            old, new = (lines[y] if y < len(lines) else [] for lines in (before, self._lines))
            if region := _changed(old, new, y):
                self.refresh(region)

    def _window(self) -> Window | None:
        """What is known, with what a person has selected."""
        if not self._known:
            return None
        window = replace(self._known[2], order=self._order, top=self._top, layer=self._layer, unit=self._unit)
        return replace(window, trait=self._property, pin=self._pin)

    def _content(self) -> list[Line]:
        size, window = self.size, self._window()
        if not window or not size:
            return []
        lines = _DRAW[self.drawing](window, size.width, size.height - 1)
        if not lines:
            from tui_gen.inspection.inside import NO_NAMES

            text = _NO_CELLS if window.layers else NO_NAMES
            lines = [[Piece(f" {line}")] for line in wrap(text, size.width - 2)]
        return [cut(line, size.width) for line in [title_line(window, self.drawing), *lines]]

    def render_lines(self, crop: Region) -> list[Strip]:
        """Asks once for the styles of all lines."""
        names = ("faint", "strong", "positive", "negative")
        self._styles = {name: part_style(self, f"inside-view--{name}") for name in names}
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """One line of what is drawn."""
        line = self._lines[y] if y < len(self._lines) else []
        segments = [Segment(piece.text, self._style(piece)) for piece in line]
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)

    def _style(self, piece: Piece) -> Style:
        if piece.level is None or piece.strong:
            return self._styles["strong"] if piece.strong else self.rich_style
        return self._styles["positive" if piece.level > 0 else "negative" if piece.level < 0 else "faint"]


class InsidePanel(Sidebar):
    """The view with its title; where there is no room beside the output, over all of it while it has the focus."""

    def __init__(self, keys: Sequence[Key] = KEYS) -> None:
        self.view = InsideView(keys)
        self.is_on = False
        """Whether a person has asked for it."""
        super().__init__(id="inside", least=_WHOLE)

    def compose(self) -> ComposeResult:
        """The view."""
        yield self.view

    def take_columns(self, columns: int) -> None:
        """Takes so many columns; 0 lets it lie over everything while it has the focus."""
        self._least = columns or _WHOLE
        super().take_columns(columns)

    def open(self) -> None:
        """Shows it; it has the focus."""
        self.is_on = True
        self.unfold(self.view)

    def close(self) -> None:
        """Puts it away."""
        self.is_on = False
        self.put_away()


def _place(view: RunView) -> tuple[int, int]:
    """Positions of its sample, and the one where its cursor stands, or of its newest token."""
    length = int(view.branch.live[:, view.sample].sum())
    return length, min(length - 1, length - 1 if view.position is None else view.position)


def _changed(old: Line, new: Line, y: int) -> Region | None:
    """Where a line differs."""
    if old == new:
        return None
    one, other = _cells(old), _cells(new)
    first = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    width = max(len(one), len(other))
    same = next((n for n in range(width - first) if one[-1 - n : len(one) - n] != other[-1 - n : len(other) - n]), 0)
    return Region(first, y, width - first - (same if len(one) == len(other) else 0), 1)


def _cells(line: Line) -> list[tuple[str, int | None, bool]]:
    return [(character, piece.level, piece.strong) for piece in line for character in piece.text]
