"""A line of the benchmark's table, and how it is printed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

from tui_gen.bench.timing import Timing


@dataclass(frozen=True)
class Row:
    """Something of ours beside something else."""

    case: str
    ours: str
    peer: str
    ratio: float | None = None
    """How many times as fast, as much, or as near; None where the peer is not installed."""
    bar: float | None = None
    """What the ratio should be at least, or at most; None for what is only shown."""
    at_most: bool = False
    note: str = ""
    """Why a bar is missed."""

    @property
    def met(self) -> bool | None:
        """None where there is nothing to compare."""
        if self.ratio is None or self.bar is None:
            return None
        return self.ratio <= self.bar if self.at_most else self.ratio >= self.bar

    @property
    def verdict(self) -> str:
        """Such as `2.3, misses 3 by 23 %`."""
        if self.ratio is None:
            return "not measured" if self.peer else ""
        if self.bar is None:
            return f"{self.ratio:.3g}"
        sign = "<=" if self.at_most else ">="
        verdict = f"{self.ratio:.3g} {'meets' if self.met else 'misses'} {sign} {self.bar:g}"
        return verdict if self.met or not self.bar else f"{verdict} by {abs(self.ratio / self.bar - 1) * 100:.0f} %"


def shown(timing: Timing) -> str:
    """Such as `610 us (600 to 650)`."""
    values = [seconds * 1e6 for seconds in (timing.median, timing.least, timing.most)]
    unit, scale = ("ms", 1e3) if values[0] >= 10_000 else ("us", 1)
    median, least, most = (
        f"{value / scale:.3g}" if value / scale < 1000 else f"{value / scale:.0f}" for value in values
    )
    return f"{median} {unit} ({least} to {most})"


def as_text(row: Row, width: int) -> str:
    """The case with its verdict, what was measured, and why it misses."""
    below = [f"{row.ours}; {row.peer}" if row.peer else row.ours]
    below += [row.note] if row.note and row.met is False else []
    head = textwrap.wrap(": ".join(filter(None, (row.case, row.verdict))), width, subsequent_indent="  ")
    indented = [textwrap.wrap(line, width, initial_indent="    ", subsequent_indent="    ") for line in below]
    return "\n".join([*head, *(line for lines in indented for line in lines)])


def as_markdown(rows: Iterable[Row]) -> str:
    """A table, and below it why bars are missed."""
    rows = list(rows)
    head = ["| case | ours | beside | ratio |", "|---|---|---|---|"]
    table = [f"| {row.case} | {row.ours} | {row.peer} | {row.verdict} |" for row in rows]
    missed = [f"- {row.case}: {row.note}." for row in rows if row.met is False and row.note]
    return "\n".join([*head, *table, *(["", *missed] if missed else [])])
