"""Runs all that needs a GPU and writes bench/results/cuda.json and cuda.md; bench/cuda.sh sets it up."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from tui_gen.bench import machine
from tui_gen.bench.rows import Row, as_markdown, as_text
from tui_gen.cuda import driver
from tui_gen.providers import cuda_trouble
from tui_gen.runtime import CUDA_VERSION

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Returns the exit status."""
    trouble = cuda_trouble(0)
    if trouble:
        print(f"bench/cuda.sh needs a GPU: {trouble}", file=sys.stderr)
        return 2
    from bench import cuda_agreement, cuda_cases, cuda_peers

    about = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        **machine.facts(),
        **cuda_peers.facts(),
        "provider": "CUDA",
        "driver runs CUDA up to": ".".join(map(str, driver().cuda)) if driver() else "",
        "onnxruntime's CUDA": CUDA_VERSION,
    }
    print("\n".join(f"{name:24} {value}" for name, value in about.items()), end="\n\n")
    agreed = _measured(cuda_agreement.agreement)
    others = (cuda_cases.language_model, cuda_cases.pictures, cuda_cases.traffic, cuda_agreement.troubles)
    rows = agreed + [row for case in (*others, cuda_cases.choices) for row in _measured(case)]
    _write(about, rows)
    return 0 if all(row.met for row in agreed) else 1


def _measured(case: Callable[[], Iterator[Row]]) -> list[Row]:
    """The rows of a case, printed as they come; one that fails is a row that says so, and the others go on."""
    rows = []
    try:
        for row in case():
            rows.append(row)
            print(as_text(row, 120), flush=True)
    except Exception as fault:
        rows.append(Row(f"{case.__name__} failed", f"{type(fault).__name__}: {fault}", "", float("nan"), 0))
        print(as_text(rows[-1], 120), flush=True)
    return rows


def _write(about: dict[str, str], rows: list[Row]) -> None:
    RESULTS.mkdir(exist_ok=True)
    found = {"machine": about, "rows": [{**asdict(row), "met": row.met} for row in rows]}
    (RESULTS / "cuda.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    facts = ", ".join(f"{name} {value}" for name, value in about.items())
    (RESULTS / "cuda.md").write_text(f"{facts}\n\n{as_markdown(rows)}\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
