"""The entries of one position in the order of their probability, and what the knobs make of them."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from rich.segment import Segment
from rich.style import Style

from tui_gen.card import Colour
from tui_gen.errors import TuiGenError
from tui_gen.images.codec import ImageCodec
from tui_gen.images.raster import hexadecimal
from tui_gen.sampling.params import FREE, Logits, SamplingParams, Tokens, Weights, weights
from tui_gen.sampling.step import Step
from tui_gen.terminal_text import scrub_line
from tui_gen.text.codec import TextCodec
from tui_gen.tui.widgets.cells import bar, fit

Made = Literal["", "drawn", "chosen", "given"]
"""How a token came to its place: drawn by the model, chosen by a person, given by the prompt; or there is none yet."""
_SORTED_AT_ONCE = 256
"""Looking further down a list than this sorts all of it."""
MARKS: dict[Made, str] = {"": " ", "drawn": "▸", "chosen": "*", "given": "="}
"""What stands before the token of the position."""
_PLAIN = Style()
CURSOR = ">"
"""What stands before the entry that is selected."""
_SWATCH = "██ "
_PERCENT = 7
"""Cells of a percentage and the space before it."""
_BEFORE = 2
"""Cells of mark and cursor."""
_LONGEST_LABEL = 12
_LONGEST_TEXT = 200
"""Characters of a token that are looked at."""
_ROOM = (3, 5, 8)
"""Lines of the panel from which on one, two or three are headings: the columns' names; how open the choice is, in a
sentence; the same as two lines of columns.
"""


class Position:
    """One position of one sample, as a step tells of it."""

    def __init__(self, step: Step, *, place: int, sample: int = 0, chosen: bool = False) -> None:
        """place: which token after the prompt it is, from 0 on. chosen: whether a person chose its token.

        Raises TuiGenError for logits that are asked for only now and that the model cannot give.
        """
        self._step, self._sample, self.place = step, sample, place
        self._logits: Logits = step.logits[sample]
        token = int(step.tokens[sample])
        self.token = token if 0 <= token < len(self._logits) else FREE
        """What stands there; `FREE` where nothing does yet, or something that the model never predicts."""
        self.made: Made = "" if self.token == FREE else "chosen" if chosen else _made(step, sample)
        """How it came there."""

    def is_like(self, other: Position) -> bool:
        """Whether it is the same position, said by the same logits, though perhaps computed anew."""
        here, there = (self._step.index, self._sample), (other._step.index, other._sample)
        return here == there and np.array_equal(self._logits, other._logits)

    @cached_property
    def order(self) -> Order:
        """All entries, the likeliest first."""
        return Order(self._logits)

    @cached_property
    def raw(self) -> Shares:
        """The model's own probabilities: temperature 1, nothing cut."""
        return Shares(np.exp(self._logits - self._logits.max()))

    def now(self, knobs: SamplingParams | None) -> Shares:
        """The probabilities after these knobs; without any, after those that counted for the step."""
        step = self._step
        if knobs is None or (knobs == step.params and not step.sweep):
            return Shares(_possible(step.weights[self._sample], None if step.sweep else step.params))
        return Shares(_possible(weights(self._logits[None], knobs.row())[0], knobs))


def _possible(made: Weights, knobs: SamplingParams | None) -> Weights:
    """Without a knob that cuts, what is 0 is only too small to be written. None: a knob may cut."""
    cuts = knobs is None or knobs.temperature == 0 or knobs.top_k or knobs.top_p < 1 or knobs.min_p
    return made if cuts else np.maximum(made, np.finfo(np.float32).tiny)


class Shares:
    """Weights [vocab] as probabilities that sum to 1."""

    def __init__(self, made: Weights) -> None:
        self._made, self._total = made, float(made.sum(dtype=np.float64))

    def of(self, token: int) -> float:
        """The probability of a token; 0 exactly if it cannot be drawn."""
        return float(self._made[token]) / self._total

    @cached_property
    def possible(self) -> int:
        """How many tokens can be drawn at all."""
        return int(np.count_nonzero(self._made))

    @cached_property
    def highest(self) -> float:
        """The probability of the likeliest token."""
        return float(self._made.max()) / self._total

    @cached_property
    def bits(self) -> float:
        """Entropy."""
        logs = np.log2(np.maximum(self._made, np.finfo(np.float32).tiny))
        return max(0.0, math.log2(self._total) - float(np.dot(self._made, logs)) / self._total)

    @property
    def equals(self) -> float:
        """Among how many equally likely tokens a choice would be as open: the effective vocabulary, 2^entropy."""
        return 2.0**self.bits


class Order:
    """Tokens by their logits, the highest first, lower ids first among equals; as few are sorted as are looked at.

    No knob changes the order: the temperature keeps it, and the filters cut from its end.
    """

    def __init__(self, logits: Logits) -> None:
        self._logits, self._sorted = logits, np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._logits)

    def part(self, first: int, past: int) -> list[int]:
        """The tokens of these ranks, from 0 on; fewer where the list ends."""
        past = min(past, len(self))
        if past > len(self._sorted):
            self._sorted = _highest(self._logits, past if past <= _SORTED_AT_ONCE else len(self))
        ranked: list[int] = self._sorted[first:past].tolist()
        return ranked

    def at(self, rank: int) -> int:
        """The token of a rank."""
        [token] = self.part(rank, rank + 1)
        return token

    def rank(self, token: int) -> int:
        """Where a token stands, from 0 on."""
        own = self._logits[token]
        return int(np.count_nonzero(self._logits > own) + np.count_nonzero(self._logits[:token] == own))


def _made(step: Step, sample: int) -> Made:
    return "given" if step.given[sample] else "drawn"


def _highest(logits: Logits, count: int) -> Tokens:
    if count >= len(logits):
        return np.argsort(-logits, kind="stable")
    border = np.partition(logits, -count)[-count]
    above = np.flatnonzero(logits > border)
    above = above[np.argsort(-logits[above], kind="stable")]
    return np.concatenate([above, np.flatnonzero(logits == border)[: count - len(above)]])


@dataclass(frozen=True)
class Look:
    """What the parts of a row are drawn in."""

    ink: Style = _PLAIN
    bar: Style = _PLAIN
    drawn: Style = _PLAIN
    faint: Style = _PLAIN


@dataclass(frozen=True)
class Entry:
    """A row: a token and its probabilities."""

    text: str
    now: float
    """After the knobs; 0 for a token that they have cut."""
    raw: float
    """The model's own."""
    filled: float
    """How much of the bar is filled, 0 to 1."""
    colour: Colour | None = None
    """Of a pixel's value."""
    made: Made = ""
    """How it came to stand at the position, if it does."""
    selected: bool = False


@dataclass(frozen=True)
class Columns:
    """How the cells of a row are shared out. label: cells of the longest label; more than it needs goes to the bar."""

    width: int
    longest: int = _LONGEST_LABEL

    @property
    def label(self) -> int:
        """Cells of the label."""
        return max(1, min(self.longest, self._free - 1 - max(2, self._free // 4)))

    @property
    def bar(self) -> int:
        """Cells of the bar."""
        return max(0, self._free - 1 - self.label)

    @property
    def _free(self) -> int:
        spare = 1 if self.width > 30 else 0  # a margin, where there is room for one
        return self.width - _BEFORE - 2 * _PERCENT - spare

    def heading(self, text: str, now: str, raw: str, style: Style) -> list[Segment]:
        """A row that is no entry: a text, and something in the columns of the percentages."""
        return [Segment(f"{fit(text, max(1, self._free + _BEFORE))}{now:>{_PERCENT}}{raw:>{_PERCENT}}", style)]

    def first_that_fits(self, texts: Sequence[str], *, whole: bool = False) -> str:
        """The first of some texts that a heading has room for, or the last; whole: without anything in its columns."""
        room = self.width if whole else self._free + _BEFORE
        return next((text for text in texts if len(text) <= room), texts[-1])

    def row(self, entry: Entry, look: Look) -> list[Segment]:
        """An entry."""
        style = look.faint if entry.now == 0 else look.drawn if entry.made else look.ink
        if entry.selected:
            style = look.ink + Style(reverse=True)
        filled = bar(entry.filled, self.bar) if self.bar else ""
        return [
            Segment(MARKS[entry.made] + (CURSOR if entry.selected else " "), style),
            *self._label(entry, style, look.ink),
            Segment(" ", style),
            Segment(filled, style if entry.selected else look.bar),
            Segment(f"{percent(entry.now) if entry.now else 'cut':>{_PERCENT}}{percent(entry.raw):>{_PERCENT}}", style),
        ]

    def _label(self, entry: Entry, style: Style, ink: Style) -> list[Segment]:
        if entry.colour is None:
            return [Segment(fit(entry.text, self.label), style)]
        swatch = ink + Style(color=hexadecimal(entry.colour))
        return [Segment(_SWATCH, swatch), Segment(fit(entry.text, max(1, self.label - len(_SWATCH))), style)]


def label(codec: TextCodec | ImageCodec, token: int) -> str:
    """A token's text in one line, made harmless; a space is shown by its sign."""
    try:
        text = codec.token_text(token)
    except TuiGenError:  # a tokenizer that fails; generating tells why
        text = f"token {token}"
    return scrub_line(text[:_LONGEST_TEXT]).replace(" ", "␣")


def longest_label(codec: TextCodec | ImageCodec, vocab: int) -> int:
    """Cells that labels can take; those of pixel values are as long as the highest number."""
    shows_colours = codec.token_colour(0, 0) is not None
    return len(f"{_SWATCH}{vocab - 1}") if shows_colours else _LONGEST_LABEL


def percent(share: float) -> str:
    """At most six cells; what is possible never looks impossible, nor what is uncertain certain."""
    if share < 0.0005:
        return "<0.1%"
    return ">99.9%" if 0.9995 <= share < 1 else f"{100 * share:.1f}%"


def heading_count(height: int) -> int:
    """How many lines of a panel stand above the entries."""
    return bisect_right(_ROOM, height)


def headings(
    now: Shares, raw: Shares, noun: str, *, note: str, columns: Columns, height: int, style: Style
) -> list[list[Segment]]:
    """The lines above the entries. noun: what an entry is. note: what the line that names the columns begins with."""
    names = columns.heading(note, "now", "raw", style)
    count = heading_count(height)
    if count == 2:
        sentence = columns.first_that_fits(_sentences(now, noun), whole=True)
        return [[Segment(sentence, style)], names]
    return [names, *_table(now, raw, noun, columns, style)][:count]


def others(
    tokens: Sequence[int], count: int, now: Shares, raw: Shares, *, columns: Columns, style: Style
) -> list[Segment]:
    """How many entries are not among these, and their probability together."""
    rest = [max(0.0, 1 - sum(map(shares.of, tokens))) for shares in (now, raw)]
    drawable = now.possible > sum(now.of(token) > 0 for token in tokens)
    now_shown, raw_shown = percent(rest[0]) if drawable else "cut", percent(rest[1])
    return columns.heading(f"  {count - len(tokens):,} others", now_shown, raw_shown, style)


def counted(number: float) -> str:
    """A number of equally likely tokens, in at most six cells where it is below a million."""
    if number < 99.95:
        return f"{number:.1f}"
    return f"{number:,.0f}" if number < 99_999.5 else f"{number:.0f}"


def _sentences(now: Shares, noun: str) -> list[str]:
    """The longest first."""
    bits, equals = f"{now.bits:.2f} bits", counted(now.equals)
    likes = (f", like {equals} equal {noun}s", f", like {equals} {noun}s", f", like {equals}", "")
    return [f" {bits}{like}" for like in likes]


def _table(now: Shares, raw: Shares, noun: str, columns: Columns, style: Style) -> list[list[Segment]]:
    bits = columns.first_that_fits([" entropy in bits", " bits"])
    equal = [f" {like}equal {noun}s" for like in ("like so many ", "like ", "")]
    equals = columns.first_that_fits([*equal, f" {noun}s"])
    return [
        columns.heading(bits, f"{now.bits:.2f}", f"{raw.bits:.2f}", style),
        columns.heading(equals, counted(now.equals), counted(raw.equals), style),
    ]
