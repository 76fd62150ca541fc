"""The report of a benchmark: runs the cases and prints their results as they come, for people or for programs."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Literal

from tui_gen.bench import timing
from tui_gen.bench.cases import language_models, pictures, steps
from tui_gen.bench.models import batches, lengths, readings
from tui_gen.bench.screen import launch, line, screen
from tui_gen.bench.timing import Result, as_markdown, as_text

CASES: dict[str, Callable[[], Iterator[Result]]] = {
    "generate": language_models,
    "step": steps,
    "pictures": pictures,
    "length": lengths,
    "batch": batches,
    "read": readings,
    "screen": screen,
    "line": line,
    "launch": launch,
}
"""By the names that the command line takes."""


Form = Literal["text", "json", "markdown"]


def print_report(names: list[str], *, form: Form) -> int:
    """Measures the named cases, or all; returns the exit status."""
    facts, began = timing.facts(), time.perf_counter()
    if form == "text":
        print("\n".join(f"{name:12} {value}" for name, value in facts.items()), end="\n\n")
    rows = []
    for name in names or CASES:
        print(f"tui-gen: measuring {name}", file=sys.stderr)
        for row in CASES[name]():
            rows.append(row)
            if form == "text":
                print(as_text(row, shutil.get_terminal_size().columns), flush=True)
    seconds = time.perf_counter() - began
    if form == "json":
        entries = [{**asdict(row), "met": row.is_met} for row in rows]
        print(
            json.dumps({"machine": facts, "seconds": round(seconds, 1), "rows": entries}, ensure_ascii=False, indent=1)
        )
    elif form == "markdown":
        print(", ".join(f"{name} {value}" for name, value in facts.items()), as_markdown(rows), sep="\n\n")
    else:
        print(f"\nmedians (least to most) of rounds in which all took turns; {seconds:.0f} s in all")
    return 0
