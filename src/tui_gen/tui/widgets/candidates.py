"""The distribution of one position: its tokens by probability, what the knobs make of them, and a row for each."""

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
from tui_gen.sampling.params import FREE, Logits, SamplingParams, Tokens, Weights
from tui_gen.sampling.params import weights as draw_weights
from tui_gen.sampling.step import Step
from tui_gen.scoring.branch_scores import Origin
from tui_gen.terminal_text import scrub_line
from tui_gen.text.codec import TextCodec
from tui_gen.tui.widgets.cells import bar, fit

_SORTED_AT_ONCE = 256
"""Looking further down a list than this sorts all of it."""
MARKS: dict[Origin | Literal[""], str] = {"": " ", "drawn": "▸", "chosen": "*", "given": "="}
"""What stands before the token of the position."""
_PLAIN = Style()
CURSOR = ">"
"""What stands before the entry that is selected."""
_SWATCH = "██ "
_PERCENT = 7
"""Cells of a percentage and the space before it."""
_BEFORE = 2
"""Cells of mark and cursor."""
_LONGEST_LABEL = 16
_LEAST_LABEL, _LEAST_BAR = 4, 8
_WITH_RAW = 32
"""Cells from which on there is room for the model's own probabilities, too."""
_VISIBLE = 0.0005
"""A share of less is no more than `<0.1%`."""
_LONGEST_TEXT = 200
"""Characters of a token that are looked at."""
_ROOM = (3, 5, 8)
"""Lines of the panel from which on one, two or three are headings: the columns' names; how open the choice is, in a
sentence; the same as two lines of columns.
"""


class Distribution:
    """The distribution over the next token at one position of one sample."""

    def __init__(self, step: Step, *, place: int, sample: int = 0, chosen: bool = False) -> None:
        """place: which token after the prompt it is, from 0 on. chosen: whether a person chose its token.

        Raises TuiGenError for logits that are asked for only now and that the model cannot give.
        """
        self._step, self._sample, self.place = step, sample, place
        self._logits: Logits = step.logits[sample]
        token = int(step.tokens[sample])
        self.token = token if 0 <= token < len(self._logits) else FREE
        """What stands there; `FREE` where nothing does yet, or something that the model never predicts."""
        origin: Origin = "chosen" if chosen else "given" if step.given[sample] else "drawn"
        self.origin: Origin | Literal[""] = "" if self.token == FREE else origin
        """How that came there; empty where nothing stands."""

    def is_like(self, other: Distribution) -> bool:
        """Whether it is of the same position and the same logits, though perhaps computed anew."""
        here, there = (self._step.index, self._sample), (other._step.index, other._sample)
        return here == there and np.array_equal(self._logits, other._logits)

    @cached_property
    def ranking(self) -> Ranking:
        """All tokens, the likeliest first."""
        return Ranking(self._logits)

    @cached_property
    def raw(self) -> Probabilities:
        """The model's own: temperature 1, nothing cut."""
        return Probabilities(np.exp(self._logits - self._logits.max()))

    def after(self, params: SamplingParams | None) -> Probabilities:
        """The probabilities after these knobs; without any, after those that counted for the step."""
        step = self._step
        if params is None or (params == step.params and not step.sweep):
            return Probabilities(_possible(step.weights[self._sample], None if step.sweep else step.params))
        return Probabilities(_possible(draw_weights(self._logits[None], params.row())[0], params))


def _possible(weights: Weights, params: SamplingParams | None) -> Weights:
    """Without a parameter that cuts, what is 0 is only too small to be written. None: one may cut."""
    cuts = params is None or params.temperature == 0 or params.top_k or params.top_p < 1 or params.min_p
    return weights if cuts else np.maximum(weights, np.finfo(np.float32).tiny)


class Probabilities:
    """Weights [vocab], scaled to sum to 1."""

    def __init__(self, weights: Weights) -> None:
        self._weights, self._total = weights, float(weights.sum(dtype=np.float64))

    def of(self, token: int) -> float:
        """The probability of a token; 0 exactly if it cannot be drawn."""
        return float(self._weights[token]) / self._total

    @cached_property
    def support(self) -> int:
        """How many tokens can be drawn at all."""
        return int(np.count_nonzero(self._weights))

    @property
    def visible(self) -> int:
        """How many tokens are likelier than what `percent` calls `<0.1%`."""
        return int(np.count_nonzero(self._weights >= _VISIBLE * self._total))

    @cached_property
    def entropy(self) -> float:
        """In bits."""
        logs = np.log2(np.maximum(self._weights, np.finfo(np.float32).tiny))
        return max(0.0, math.log2(self._total) - float(np.dot(self._weights, logs)) / self._total)

    @property
    def perplexity(self) -> float:
        """2^entropy: among how many equally likely tokens a choice would be as open."""
        return 2.0**self.entropy


class Ranking:
    """Tokens by their logits, the highest first, lower ids first among equals; as few are sorted as are looked at.

    No knob changes the order: the temperature keeps it, and the filters cut from its end.
    """

    def __init__(self, logits: Logits) -> None:
        self._logits, self._first = logits, np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._logits)

    def part(self, first: int, past: int) -> list[int]:
        """The tokens of these ranks, from 0 on; fewer where the list ends."""
        past = min(past, len(self))
        if past > len(self._first):
            self._first = _highest(self._logits, past if past <= _SORTED_AT_ONCE else len(self))
        tokens: list[int] = self._first[first:past].tolist()
        return tokens

    def at(self, rank: int) -> int:
        """The token of a rank."""
        [token] = self.part(rank, rank + 1)
        return token

    def rank(self, token: int) -> int:
        """Where a token stands, from 0 on."""
        own = self._logits[token]
        return int(np.count_nonzero(self._logits > own) + np.count_nonzero(self._logits[:token] == own))


def _highest(logits: Logits, count: int) -> Tokens:
    if count >= len(logits):
        return np.argsort(-logits, kind="stable")
    border = np.partition(logits, -count)[-count]
    above = np.flatnonzero(logits > border)
    above = above[np.argsort(-logits[above], kind="stable")]
    return np.concatenate([above, np.flatnonzero(logits == border)[: count - len(above)]])


@dataclass(frozen=True)
class RowStyles:
    """What the parts of a row are drawn in."""

    ink: Style = _PLAIN
    bar: Style = _PLAIN
    token: Style = _PLAIN
    """Of the token that stands at the position."""
    faint: Style = _PLAIN


@dataclass(frozen=True)
class TokenRow:
    """A token of the list with its probabilities."""

    text: str
    now: float
    """After the knobs; 0 for a token that they have cut."""
    raw: float
    """The model's own."""
    colour: Colour | None = None
    """Of a pixel's value."""
    origin: Origin | Literal[""] = ""
    """How it came to stand at the position, if it does."""
    has_cursor: bool = False


@dataclass(frozen=True)
class Columns:
    """How the cells of a row are shared out; what the longest label does not need is the bar's.

    Bars have one scale: a probability of 1 fills them.
    """

    width: int
    longest: int = _LONGEST_LABEL
    """Cells of the longest label."""

    @property
    def label(self) -> int:
        """Cells of the label."""
        return max(1, min(self.longest, max(_LEAST_LABEL, self._free - 1 - max(_LEAST_BAR, self._free // 2))))

    @property
    def bar(self) -> int:
        """Cells of the bar."""
        return max(0, self._free - 1 - self.label)

    @property
    def _free(self) -> int:
        spare = 1 if self.width > 36 else 0  # a margin, where there is room for one
        return self.width - _BEFORE - len(self.figures("", "")) - spare

    def figures(self, now: str, raw: str) -> str:
        """The columns of the percentages; narrow panels have the first alone."""
        return f"{now:>{_PERCENT}}" + (f"{raw:>{_PERCENT}}" if self.width >= _WITH_RAW else "")

    def heading(self, text: str, now: str, raw: str, style: Style) -> list[Segment]:
        """A row without a token: a text, and something in the columns of the percentages."""
        return [Segment(fit(text, self._free + _BEFORE) + self.figures(now, raw), style)]

    def first_that_fits(self, texts: Sequence[str], *, whole: bool = False) -> str:
        """The first of some texts that a heading has room for, or the last; whole: without anything in its columns."""
        room = self.width if whole else self._free + _BEFORE
        return next((text for text in texts if len(text) <= room), texts[-1])

    def segments(self, row: TokenRow, styles: RowStyles) -> list[Segment]:
        """Mark, label, bar and both percentages."""
        style = styles.faint if row.now == 0 else styles.token if row.origin else styles.ink
        if row.has_cursor:
            style = styles.ink + Style(reverse=True)
        now, raw = percent(row.now) if row.now else "cut", percent(row.raw)
        return [
            Segment(MARKS[row.origin] + (CURSOR if row.has_cursor else " "), style),
            *self._label(row, style, styles.ink),
            Segment(" ", style),
            Segment(bar(row.now, self.bar) if self.bar else "", style if row.has_cursor else styles.bar),
            Segment(self.figures(now, raw), style),
        ]

    def _label(self, row: TokenRow, style: Style, ink: Style) -> list[Segment]:
        if row.colour is None:
            return [Segment(fit(row.text, self.label), style)]
        swatch = ink + Style(color=hexadecimal(row.colour))
        return [Segment(_SWATCH, swatch), Segment(fit(row.text, self.label - len(_SWATCH)), style)]


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
    if share < _VISIBLE:
        return "<0.1%"
    return ">99.9%" if 0.9995 <= share < 1 else f"{100 * share:.1f}%"


def heading_count(height: int) -> int:
    """How many lines of a panel stand above the tokens."""
    return bisect_right(_ROOM, height)


def headings(
    now: Probabilities, raw: Probabilities, noun: str, *, note: str, columns: Columns, height: int, style: Style
) -> list[list[Segment]]:
    """The lines above the tokens. noun: what a token is. note: what the line that names the columns begins with."""
    names = columns.heading(note, "now", "raw", style)
    count = heading_count(height)
    if count == 2:
        sentence = columns.first_that_fits(_sentences(now, noun), whole=True)
        return [[Segment(sentence, style)], names]
    return [names, *_table(now, raw, noun, columns, style)][:count]


def others(
    tokens: Sequence[int], count: int, now: Probabilities, raw: Probabilities, *, columns: Columns, style: Style
) -> list[Segment]:
    """How many tokens are not among these, and their probability together."""
    rest = [max(0.0, 1 - sum(map(probabilities.of, tokens))) for probabilities in (now, raw)]
    drawable = now.support > sum(now.of(token) > 0 for token in tokens)
    wordings = [f"  {and_}{count - len(tokens):,} others" for and_ in ("and ", "")]
    return columns.heading(
        columns.first_that_fits(wordings), percent(rest[0]) if drawable else "cut", percent(rest[1]), style
    )


def short_number(number: float) -> str:
    """A number of equally likely tokens, in at most six cells where it is below a million."""
    if number < 99.95:
        return f"{number:.1f}"
    return f"{number:,.0f}" if number < 99_999.5 else f"{number:.0f}"


def _sentences(now: Probabilities, noun: str) -> list[str]:
    """The longest first."""
    bits, equals = f"{now.entropy:.2f} bits", short_number(now.perplexity)
    likes = (f", like {equals} equal {noun}s", f", like {equals} {noun}s", f", like {equals}", "")
    return [f" {bits}{like}" for like in likes]


def _table(now: Probabilities, raw: Probabilities, noun: str, columns: Columns, style: Style) -> list[list[Segment]]:
    bits = columns.first_that_fits([" entropy in bits", " bits"])
    equal = [f" {like}equal {noun}s" for like in ("like so many ", "like ", "")]
    equals = columns.first_that_fits([*equal, f" {noun}s"])
    return [
        columns.heading(bits, f"{now.entropy:.2f}", f"{raw.entropy:.2f}", style),
        columns.heading(equals, short_number(now.perplexity), short_number(raw.perplexity), style),
    ]
