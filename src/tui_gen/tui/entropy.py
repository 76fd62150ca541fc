"""The lines around the entries of a distribution: what its columns are, how open the choice is, what is not shown."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style

from tui_gen.tui.entries import Columns, percent
from tui_gen.tui.ranking import Shares

_ROOM = (3, 5, 8)
"""Lines of the panel from which on one, two or three are headings: the columns' names; how open the choice is, in a
sentence; the same as two lines of columns.
"""


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
