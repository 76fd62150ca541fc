"""Draws the text by the activation of one unit, and the units that follow something in it, or where they are on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tui_gen.inspection.units import (
    SATURATION,
    SHORT,
    Match,
    Values,
    chance,
    matches,
    phrase,
    phrase_matches,
    properties,
    similar_places,
)
from tui_gen.sampling.params import Floats
from tui_gen.terminal_text import counted
from tui_gen.tui.widgets.cells import bar
from tui_gen.tui.widgets.inside_drawing import GLYPHS, STEPS, Line, Piece, cut, levels_of, sentences
from tui_gen.tui.widgets.inside_text import TEXTS_ALONE, flat, marked_text
from tui_gen.tui.widgets.inside_window import Window

_RANKS, _TOP = 16, 3
"""Lines of the ranking at most, and units of it whose places are listed together while none is pinned."""
_BAR = 16
WORD, PHRASE = "the word at the cursor", "the marked phrase"
NO_STATE = "the state of this model has no real numbers to look at, or too many"


class Ranking(NamedTuple):
    """The units of a layer by how closely they follow something in the text."""

    layer: str
    hidden: Values
    """[tokens, units]"""
    traits: tuple[str, ...]
    """The properties of the text that change in it."""
    trait: str
    """The one that they follow; empty where there is none."""
    matches: list[Match]
    """All units that move, the closest first."""
    chance: float = 0.0
    """As of `chance`."""
    begin: int = 0
    """The first token of which anything can be said."""

    def unit(self, pin: int | None) -> int:
        """The one that is pinned, or else the one that follows the property most closely."""
        if pin is not None:
            return pin % self.hidden.shape[1]
        return self.matches[0].unit if self.matches else 0


def ranking(window: Window) -> Ranking | None:
    """By the property and of the layer that are selected; None where there is no text or no state."""
    states = [state for state in window.states if state[0].endswith(" h")] or window.states
    if not states or not window.pieces:
        return None
    layer, hidden = states[window.selection.layer % len(states)]
    begin = int(not window.pieces[0])
    own, series = hidden[begin:], _properties(window, begin)
    if not series:
        return Ranking(layer, hidden, (), "", [])
    traits, trait = tuple(series), window.selection.trait
    name = trait if trait in traits else traits[-1] if trait in (WORD, PHRASE) else traits[0]
    every, span = hidden.shape[1], _span(window, begin)
    order = phrase_matches(own, span, count=every) if name == PHRASE else matches(own, series[name], count=every)
    return Ranking(layer, hidden, traits, name, order, chance(own, series[name]), begin)


def _properties(window: Window, begin: int) -> dict[str, Floats]:
    """Of those that a text can have, the ones that change in it; the last is the phrase that is marked, or the word at
    the cursor.
    """
    pieces, name = window.pieces[begin:], PHRASE if window.phrase else WORD
    series = {**properties(pieces), name: phrase(len(pieces), _span(window, begin))}
    return {name: values for name, values in series.items() if len(values) and values.min() < values.max()}


def _span(window: Window, begin: int) -> range:
    """Of the phrase or the word, counted from a token on."""
    if window.phrase:
        return range(max(0, window.phrase.start - begin), max(0, window.phrase.stop - begin))
    pieces, cursor = window.pieces[begin:], window.cursor - begin
    begins = [at for at in range(min(cursor + 1, len(pieces))) if at and (pieces[at] + " ")[0].isspace()]
    return range(begins[-1] if begins else 0, max(0, cursor + 1))


def units_lines(window: Window, width: int, height: int) -> list[Line]:
    """The text by the activation of one unit, and the units that follow something in it, or where they are on."""
    order = ranking(window)
    if not order:
        return sentences(NO_STATE if window.pieces else TEXTS_ALONE, width)[: max(0, height)]
    unit = order.unit(window.selection.pin)
    series, is_hidden = order.hidden[:, unit], order.layer.endswith(" h")
    bound = 1.0 if is_hidden else max(1.0, float(np.abs(order.hidden).max()))
    levels = levels_of(series, bound)
    room = min(_RANKS, max(0, height // 3))
    rows = (
        _match_lines(order, unit, room) if window.selection.place is None else _place_lines(window, order, width, room)
    )
    facts = [order.layer, f"unit {unit} of {order.hidden.shape[1]}", f"{series[window.cursor]:+.2f} here"]
    facts += [f"{(np.abs(series) > SATURATION).mean():.0%} beyond {SATURATION}"] if is_hidden else []
    scale = f" · {GLYPHS[-STEPS]} {-bound:.2g}  {GLYPHS[STEPS]} {bound:.2g}"
    head: Line = [Piece(f" {' · '.join(facts)}", strong=True), Piece(scale)]
    text = marked_text(window, levels, width, max(0, height - 1 - len(rows)))
    return [cut(line, width) for line in [head, *text, *rows][:height]]


def _match_lines(order: Ranking, unit: int, room: int) -> list[Line]:
    """What is followed, and the units that do, the selected one among them."""
    if not order.trait:
        return [[Piece(" nothing that a unit could follow changes in this text")]][:room]
    tokens = len(order.hidden)
    head: Line = [
        Piece(f" follow: {order.trait}", strong=True),
        Piece(f" ({order.traits.index(order.trait) + 1} of {len(order.traits)})"),
        Piece(f" · {tokens:,} tokens are few" if tokens < SHORT else "", -1),
        Piece(f" · by chance {order.chance:.2f}"),
    ]
    at = next((at for at, match in enumerate(order.matches) if match.unit == unit), 0)
    top = max(0, at - max(1, room - 1) + 1)
    shown = order.matches[top : top + room - 1]
    return [head, *(_match_line(match, match.unit == unit, order.chance) for match in shown)][:room]


def _match_line(match: Match, selected: bool, by_chance: float) -> Line:
    sign = 1 if match.correlation > 0 else -1
    remarks = ["on throughout, off around it"] * match.is_throughout
    remarks += ["as by chance"] * (abs(match.correlation) <= by_chance)
    return [
        Piece(f" {'>' if selected else ' '} unit {match.unit:>4} {match.correlation:+.2f} ", strong=selected),
        Piece(bar(abs(match.correlation), _BAR), sign),
        Piece(f" {', '.join(remarks)}"),
    ]


def places(window: Window, order: Ranking) -> tuple[list[Match], list[range]]:
    """The unit that is pinned, or the first ones, and where in the text they are on together, the longest first."""
    unit, pin = order.unit(window.selection.pin), window.selection.pin
    units = [match for match in order.matches if match.unit == unit] if pin is not None else order.matches[:_TOP]
    signs = [1 if match.correlation > 0 else -1 for match in units]
    own = order.hidden[order.begin :]
    stretches = similar_places(own, [match.unit for match in units], signs) if units else []
    return units, [range(stretch.start + order.begin, stretch.stop + order.begin) for stretch in stretches]


def _place_lines(window: Window, order: Ranking, width: int, room: int) -> list[Line]:
    """Each with the text around it; the one that is chosen is marked."""
    units, stretches = places(window, order)
    chosen = min(window.selection.place or 0, max(0, len(stretches) - 1))
    names = ", ".join(f"{match.unit}{'' if match.correlation > 0 else ' (below 0)'}" for match in units)
    count = f"{counted(len(stretches), 'place')} with unit{'s' * (len(units) > 1)} {names} on"
    head: Line = [Piece(f" {count}", strong=True), Piece(" · enter goes there" if stretches else "")]
    top = max(0, chosen - max(1, room - 1) + 1)
    rows = [
        _place_line(window, stretch, width, number == chosen)
        for number, stretch in enumerate(stretches[top : top + room - 1], top)
    ]
    return [head, *rows][:room]


def _place_line(window: Window, stretch: range, width: int, is_chosen: bool) -> Line:
    """How far from the cursor it is, how many tokens it has, and what is written there."""
    distance = stretch.start - window.cursor
    where = "here" if window.cursor in stretch else f"{abs(distance):,} {'on' if distance > 0 else 'back'}"
    name = f" {'>' if is_chosen else ' '} {where:>10} {f'({len(stretch)})':>6} "
    room = max(0, width - len(name)) // 3
    before, within, after = (
        flat(window.pieces[max(0, first) : past])
        for first, past in ((stretch.start - room, stretch.start), (stretch.start, stretch.stop), (stretch.stop, None))
    )
    text = within.lstrip(" ")
    before = (before + within[: len(within) - len(text)])[-room:] if room else ""
    return [
        Piece(name, strong=is_chosen),
        Piece(before.rjust(room)),
        Piece(f"[{text}]", 1),
        Piece(after[:width]),
    ]
