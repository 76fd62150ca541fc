"""The report of a benchmark: runs the cases and prints their results as they come, for people or for programs."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Literal

from tui_gen.bench.cases import language_models, pictures, steps
from tui_gen.bench.machine import IDLE_LOOP, facts
from tui_gen.bench.models import batches, lengths, loops, readings, writings
from tui_gen.bench.screen import launch, line, screen
from tui_gen.bench.timing import Result, as_markdown, as_text
from tui_gen.terminal_text import say, show, show_text

CASES: dict[str, Callable[[], Iterator[Result]]] = {
    "generate": language_models,
    "loop": loops,
    "step": steps,
    "pictures": pictures,
    "length": lengths,
    "batch": batches,
    "read": readings,
    "write": writings,
    "screen": screen,
    "line": line,
    "launch": launch,
}
"""By the names that the command line takes."""


Form = Literal["text", "json", "markdown"]


def print_report(names: list[str], *, form: Form) -> int:
    """Measures the named cases, or all; returns the exit status."""
    machine, began, rows = facts(), time.perf_counter(), list[Result]()
    if form == "text":
        show(*(f"{name:12} {value}" for name, value in machine.items()), "")
    for name in names or CASES:
        say(f"measuring {name}")
        for row in _watched(CASES[name]()):
            rows.append(row)
            if form == "text":
                show_text(as_text(row, shutil.get_terminal_size().columns))
    seconds, busy = time.perf_counter() - began, sum(row.busy for row in rows) / max(1, len(rows))
    if form == "json":
        entries = [{**asdict(row), "met": row.is_met} for row in rows]
        show_text(
            json.dumps(
                {"machine": machine, "seconds": round(seconds, 1), "busy": round(busy, 3), "rows": entries},
                ensure_ascii=False,
                indent=1,
            )
        )
    elif form == "markdown":
        about = ", ".join(f"{name} {value}" for name, value in machine.items())
        show_text(f"{about}; {_others(busy)}\n\n{as_markdown(rows)}")
    else:
        show("", f"medians (least to most) of rounds in which all took turns; {_others(busy)}; {seconds:.0f} s in all")
    return 0


def _watched(rows: Iterator[Result]) -> Iterator[Result]:
    """The rows of a case, each with how busy others kept the machine before, during and after what it is of."""
    IDLE_LOOP.restart()
    IDLE_LOOP.measure()
    for row in rows:
        IDLE_LOOP.measure()
        yield replace(row, busy=IDLE_LOOP.busy)


def _others(busy: float) -> str:
    return f"others had {busy:.0%} of the processors meanwhile"
