"""What goes on inside the network while the token at the cursor is read: beside the output, or over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, ClassVar, Literal

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
from tui_gen.tui.widgets.cells import part_style
from tui_gen.tui.widgets.image_view import ImageView, cell_style
from tui_gen.tui.widgets.inside_drawing import (
    Line,
    Piece,
    cell_lines,
    cut,
    first_unit,
    selected_layer,
    sentences,
    state_lines,
    title_line,
)
from tui_gen.tui.widgets.inside_eye import eye_lines
from tui_gen.tui.widgets.inside_influence import influence_lines
from tui_gen.tui.widgets.inside_picture import features_lines, picture_ranking, picture_units_lines, prompt_lines
from tui_gen.tui.widgets.inside_picture_window import PictureReader
from tui_gen.tui.widgets.inside_text import tokens_lines
from tui_gen.tui.widgets.inside_units import NO_STATE, PHRASE, Ranking, places, ranking, units_lines
from tui_gen.tui.widgets.inside_window import Drawing, Place, Selection, Window, measure, read_window
from tui_gen.tui.widgets.lists import Sidebar
from tui_gen.tui.widgets.run_view import Cursor, RunView

if TYPE_CHECKING:  # what looks inside is loaded when somebody looks
    from tui_gen.inspection.branch_trace import BranchTrace
    from tui_gen.inspection.inside import Inside
    from tui_gen.sessions.workspace import Workspace

Deed = Literal["forget", "hold", "take"]
"""What can be done to a state."""
Subject = Literal["text", "word"]
_NEAR, _WIDE = (256, 128, 64), (768, 768, 512)
"""Tokens before and after the cursor whose inside is computed, at least, and in which steps, so that a text moves
rarely; and of units while no run is in need of the time: more text tells more.
"""
_DRAW: Mapping[Drawing, Callable[[Window, int, int], list[Line]]] = {
    "state": state_lines,
    "cell": cell_lines,
    "influence": influence_lines,
    "units": units_lines,
    "tokens": tokens_lines,
}
_DRAW_PICTURE: Mapping[Drawing, Callable[[Window, int, int], list[Line]]] = {
    "state": features_lines,
    "cell": eye_lines,
    "influence": influence_lines,
    "units": picture_units_lines,
    "tokens": prompt_lines,
}
"""Of a model that draws."""
_READ_FOR_IT = ("influence", "tokens")
"""What is drawn there is not known before somebody looks at it."""
_NO_CELLS = "this network has no recurrent cells"
_UNDERLINE = Style(underline=True)
_CELLS_PER_SECOND = 1000
"""Of what is drawn while a run goes on."""
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

    @dataclass
    class Chosen(Message):
        """A person wants to go to a token of the text."""

        position: int

    @dataclass
    class Asked(Message):
        """A person wants to see another text or the neighbours of a word, and is to say which."""

        subject: Subject

    @dataclass
    class Turned(Message):
        """Something else is drawn, so other keys mean something."""

    def __init__(self, keys: Sequence[Key] = KEYS) -> None:
        super().__init__()
        bind(self, "InsideView", keys)
        self.drawing: Drawing = "state"
        self._selection = Selection()
        self.view: RunView | None = None
        self._trace: BranchTrace | None = None
        self._inside: Inside | None = None
        self._next: Place | None = None
        self._word: tuple[str, Cursor | None] = "", None
        """Whose neighbours are asked for, and where the cursor stood then."""
        self._latest: tuple[BranchTrace, Place] | None = None
        """What is computed, or was last."""
        self._known: tuple[BranchTrace, Place, Window] | None = None
        self._reader: Worker[None] | None = None
        self._waiting: list[Callable[[Window], None]] = []
        """What keys have asked for that were pressed before anything was known."""
        self._pictures = PictureReader()
        self._looks = Throttle(self._look, self.set_timer, rate=1)
        self._lines: list[Line] = []
        self._styles: dict[object, Style] = {}

    def attend(self, view: RunView | None) -> None:
        """It is about another branch from now on, or about none."""
        self.view, self._next, self._latest = view, None, None
        if view is None:
            self._known = None
            self._waiting.clear()
            self._draw()

    def begin_anew(self) -> None:
        """Draws the state, with nothing selected, when it looks next."""
        self.drawing, self._selection = "state", Selection()

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
        has_time, is_text = view.still or not view.running, not view.workspace.loaded_model.card.image
        before, past, every = _WIDE if self.drawing == "units" and has_time and is_text else _NEAR
        first, past = max(0, position - before) // every * every, -(-(position + past) // every) * every
        is_measured = self.drawing == "influence" or (self.drawing == "tokens" and not is_text)
        measures = is_measured and has_time
        if is_measured and view.paused and not view.still:
            return  # the run comes to its stop at once, and tells
        word = self._word[0] if self._word[1] == view.cursor and self.drawing == "tokens" else ""
        place = Place(position, first, min(length, past), self.drawing, measures, word)
        if not is_text:
            glyphs = self._draws_glyphs
            place = replace(place, first=0, past=length, layer=self._selection.layer, glyphs=glyphs)
        if self._latest != (trace, place):
            self._latest, self._next = (trace, place), place
            self._read_on()

    @property
    def _draws_glyphs(self) -> bool:
        """Whether a picture is to read without colour: there is none, or a person has the drawing in characters."""
        styles = [view.rendering for view in self.view.query(ImageView)] if self.view else []
        return self.app.no_color or any(style != "blocks" for style in styles)

    @property
    def _is_picture(self) -> bool:
        return self.view is not None and self.view.workspace.loaded_model.card.image is not None

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
        known = None
        try:
            for window in self._windows(trace, place, workspace):
                if window is not known:
                    known = window
                    self.post_message(self.Read(trace, place, window))
                if self._next or get_current_worker().is_cancelled:
                    return
        except TuiGenError as fault:
            self.post_message(self.Read(trace, place, None, str(fault)))

    def _windows(self, trace: BranchTrace, place: Place, workspace: Workspace) -> Iterator[Window]:
        """What is known, and more and more of it; now and then the same again, so that one may stop."""
        if workspace.loaded_model.card.image:
            windows = self._pictures.read(trace, place, workspace)
        else:
            windows = iter((read_window(trace, place, workspace),))
        if not place.measures or place.drawing != "influence":
            yield from windows
            return
        window = next(windows)
        for measurement in measure(trace, place, workspace.loaded_model):
            window = window if window.influence is measurement else replace(window, influence=measurement)
            yield window

    def on_inside_view_read(self, message: Read) -> None:
        """It is known, and the cursor may stand elsewhere by now."""
        if message.fault:
            self.notify(message.fault, severity="error")
        elif message.window and message.trace is self._trace:
            self._known = message.trace, message.place, message.window
            waiting, self._waiting = self._waiting, []
            for act in waiting:
                self._when_known(act)  # with what those before it have selected
            self._draw()

    # --- keys ---

    def action_draw(self, drawing: Drawing) -> None:
        """What is drawn; the cell of the unit that was looked at."""
        if drawing == "cell" and not self._is_picture:
            self._when_known(partial(self._take_unit, self.drawing))
        self.drawing = drawing
        if drawing not in _READ_FOR_IT and not self._is_picture:
            self._draw()
        self._look()
        self.post_message(self.Turned())

    def action_order(self) -> None:
        """Units that move most first, or by their number."""
        self._select(order="number" if self._selection.order == "movement" else "movement", top=0)

    def action_layer(self) -> None:
        """The cell, the units or the features of the next layer; the next step of the eye."""
        if self._is_picture and self.drawing == "cell":
            self._select(step=self._selection.step + 1)
        else:
            self._select(layer=self._selection.layer + 1, pin=None)
            self._look()

    def action_units(self, by: int) -> None:
        """Other units: scrolls the strips, looks at the next cell of the layer, or goes through the ranking."""
        if self.drawing == "units" and self._selection.place is not None:
            self._when_known(partial(self._move_place, by))
        elif self.drawing == "units":
            self._when_known(partial(self._move_pin, by))
        elif self._is_picture and self.drawing == "cell":
            self._select(step=self._selection.step + by)
        elif self.drawing in ("state", "cell"):
            self._when_known(partial(self._move_unit, by))

    def action_property(self) -> None:
        """Units that follow something else in the text."""
        self._when_known(self._turn_property)

    def _when_known(self, act: Callable[[Window], None]) -> None:
        """Does what a key asks for; before anything is known, as soon as something is."""
        if window := self._window():
            act(window)
        else:
            self._waiting.append(act)

    def _turn_property(self, window: Window) -> None:
        if (order := _ranking(window)) and order.traits:
            following = order.traits.index(order.trait) + 1
            self._select(trait=order.traits[following % len(order.traits)], pin=None)

    def _take_unit(self, drawing: Drawing, window: Window) -> None:
        self._select(unit=_unit(drawing, window))

    def _move_unit(self, by: int, window: Window) -> None:
        selection, last = self._selection, max((part.shape[1] for _, part in window.states), default=1) - 1
        if self.drawing == "state":
            self._select(top=_within(selection.top + by, last))
        else:
            self._select(unit=_within(selection.unit + by, last))

    def _select(self, **facts: Any) -> None:
        self._selection = replace(self._selection, **facts)
        self._draw()

    def _move_pin(self, by: int, window: Window) -> None:
        """The unit so many ranks further on."""
        if (order := _ranking(window)) and order.matches:
            units, unit = [match.unit for match in order.matches], order.unit(window.selection.pin)
            at = units.index(unit) + by if unit in units else 0
            unit = units[_within(at, len(units) - 1)]
            self._select(pin=unit, unit=unit)

    def action_mark(self) -> None:
        """Marks a phrase: begins at the cursor, ends there, or is no more."""
        if not self.view or not self._latest:
            return
        (_, at), selection = _place(self.view), self._selection  # what is known may be about where the cursor was
        if selection.begun is None:
            self._select(phrase=None, begun=None if selection.phrase else at, trait=PHRASE, pin=None)
        else:
            phrase = range(min(at, selection.begun), max(at, selection.begun) + 1)
            self._select(phrase=phrase, begun=None, trait=PHRASE, pin=None)

    def action_places(self) -> None:
        """Lists where else the same units are on, or the units again."""
        self._select(place=0 if self._selection.place is None else None)

    def action_go(self) -> None:
        """To the place that is chosen."""
        window, at = self._window(), self._selection.place
        if window and at is not None and (order := ranking(window)):
            _, stretches = places(window, order)
            if stretches:
                self.post_message(self.Chosen(window.first + stretches[min(at, len(stretches) - 1)].start))

    def _move_place(self, by: int, window: Window) -> None:
        if order := ranking(window):
            _, stretches = places(window, order)
            self._select(place=_within((self._selection.place or 0) + by, len(stretches) - 1))

    def action_ask(self, subject: Subject) -> None:
        """Asks for another text, or for a word."""
        if subject == "word" and self._inside and self._inside.embedding is None:
            self.notify("this model names no embedding in which a word could have neighbours")
        else:
            self.post_message(self.Asked(subject))

    def show_neighbours(self, word: str) -> None:
        """What is near a word in the embedding, until the cursor moves."""
        self._word = word, self.view.cursor if self.view else None
        self._look()

    def action_operate(self, deed: Deed) -> None:
        """Asks for surgery on the state where somebody looks."""
        if surgery := self.surgery(deed):
            self.post_message(surgery)

    def surgery(self, deed: Deed) -> Surgery | None:
        """What would be done where somebody looks; None while there is no branch."""
        if not (view := self.view):
            return None
        layer, unit = self._selected()
        return self.Surgery(deed, view.branch, view.sample, _place(view)[1], layer, unit)

    def _selected(self) -> tuple[int, int]:
        """The layer, and the unit that is looked at."""
        window = self._window()
        if not window:
            return self._selection.layer, self._selection.unit
        return selected_layer(window), _unit(self.drawing, window)

    # --- drawing ---

    def on_resize(self) -> None:
        """Another part of it has room."""
        self._draw()

    def _draw(self) -> None:
        """Draws what has changed; after much, a run is followed the later, for the line to it may be slow."""
        before, self._lines = self._lines, self._content()
        pairs = zip_longest(before, self._lines, fillvalue=list[Piece]())
        regions = [region for y, (old, new) in enumerate(pairs) if (region := _changed(old, new, y))]
        if regions:
            self.refresh(*regions)
        self._looks.seconds = max(1.0, sum(region.width for region in regions) / _CELLS_PER_SECOND)

    def _window(self) -> Window | None:
        """What is known, with what a person has selected."""
        if not self._known:
            return None
        return replace(self._known[2], selection=self._selection)

    def _content(self) -> list[Line]:
        size, window = self.size, self._window()
        if not window or not size:
            return []
        lines = (_DRAW_PICTURE if window.picture else _DRAW)[self.drawing](window, size.width, size.height - 1)
        if not lines:
            from tui_gen.inspection.inside import NO_NAMES

            is_state = self.drawing == "state" and not window.picture
            text = NO_STATE if is_state else _NO_CELLS if window.layers else NO_NAMES
            lines = sentences(text, size.width)
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
        if piece.colours:
            return self.rich_style + cell_style(*piece.colours)
        if piece.marked:
            return self._style(replace(piece, marked=False)) + _UNDERLINE
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


def _ranking(window: Window) -> Ranking | None:
    return picture_ranking(window) if window.picture else ranking(window)


def _unit(drawing: Drawing, window: Window) -> int:
    """The one that a drawing shows first."""
    if drawing == "units" and (order := ranking(window)):
        return order.unit(window.selection.pin)
    return first_unit(window) if drawing == "state" else window.selection.unit


def _place(view: RunView) -> tuple[int, int]:
    """Positions of its sample, and the one where its cursor stands, or of its newest token."""
    length = int(view.branch.live[:, view.sample].sum())
    return length, min(length - 1, length - 1 if view.position is None else view.position)


def _within(number: int, last: int) -> int:
    """The nearest from 0 to the last."""
    return max(0, min(last, number))


def _changed(old: Line, new: Line, y: int) -> Region | None:
    """Where a line differs."""
    if old == new:
        return None
    one, other = _cells(old), _cells(new)
    first = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    width = max(len(one), len(other))
    same = next((n for n in range(width - first) if one[-1 - n : len(one) - n] != other[-1 - n : len(other) - n]), 0)
    return Region(first, y, width - first - (same if len(one) == len(other) else 0), 1)


def _cells(line: Line) -> list[Piece]:
    return [replace(piece, text=character) for piece in line for character in piece.text]
