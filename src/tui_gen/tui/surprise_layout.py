"""How the lines of the surprise panel share its room, and what then stands in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.segment import Segment
from textual.geometry import Size

from tui_gen.branch_surprise import BranchSurprise
from tui_gen.tui.surprise_legend import Line, Look, legend
from tui_gen.tui.surprise_lines import Row, first_that_fits, heading, note, row_line
from tui_gen.tui.window import Window

_LEAST, _SOME = 3, 5
"""Lines of totals and tokens of the list that are shown first; tokens that go before the long legend."""


@dataclass(frozen=True)
class Content:
    """What there is to say about a sample."""

    surprise: BranchSurprise
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
