"""Runs all that needs a GPU and writes bench/results/cuda.json and cuda.md; bench/cuda.sh sets it up.

Each case runs in a process of its own: a GPU that fails in one of them is new for the next.
"""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from tui_gen.bench import machine
from tui_gen.bench.timing import Result, as_markdown, as_text
from tui_gen.runtime.cuda import driver
from tui_gen.runtime.session import CUDA_VERSION, cuda_trouble

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
CASES = ("agreement", "language_model", "pictures", "traffic", "troubles", "choices")
_SECONDS = 900


def main() -> int:
    """Returns the exit status."""
    trouble = cuda_trouble(0)
    if trouble:
        print(f"bench/cuda.sh needs a GPU: {trouble}", file=sys.stderr)
        return 2
    if sys.argv[1:]:
        return _run_here(sys.argv[1])
    about, rows = _about(), list[Result]()
    print("\n".join(f"{name:24} {value}" for name, value in about.items()), end="\n\n")
    for case in CASES:
        rows += _run_apart(case)
        _write(about, rows)
    agreed = [row for row in rows if "beside CUDA" in row.case or "failed" in row.case]
    return 0 if agreed and all(row.is_met for row in agreed) else 1


def _run_here(name: str) -> int:
    """Prints the rows of a case as lines of JSON."""
    from bench import cuda_agreement, cuda_cases

    case: Callable[[], Iterator[Result]] = getattr(cuda_agreement, name, None) or getattr(cuda_cases, name)
    for row in case():
        print(json.dumps(asdict(row)), flush=True)
    return 0


def _run_apart(name: str) -> list[Result]:
    """The rows of a case; one more, if it fails."""
    rows, command = [], [sys.executable, "-m", "bench.cuda", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as child:
        assert child.stdout
        assert child.stderr
        for line in child.stdout:
            rows.append(Result(**json.loads(line)))
            print(as_text(rows[-1], 120), flush=True)
        said = child.stderr.read()
        status = child.wait(timeout=_SECONDS)
    if status:
        rows.append(Result(f"{name} failed with status {status}", " ".join(said[-400:].split()), "", 0.0, 1))
        print(as_text(rows[-1], 120), flush=True)
    return rows


def _about() -> dict[str, str]:
    found = driver()
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        **machine.facts(),
        "gpu": ", ".join(found.devices) if found else "",
        **_torch(),
        "provider": "CUDA",
        "driver runs CUDA up to": ".".join(map(str, found.cuda)) if found else "",
        "onnxruntime's CUDA": CUDA_VERSION,
    }


def _torch() -> dict[str, str]:
    try:
        from bench import cuda_peers

        return cuda_peers.facts()
    except (ImportError, RuntimeError, AssertionError) as fault:
        return {"torch": f"cannot use the GPU: {fault}"}


def _write(about: dict[str, str], rows: list[Result]) -> None:
    RESULTS.mkdir(exist_ok=True)
    found = {"machine": about, "rows": [{**asdict(row), "met": row.is_met} for row in rows]}
    (RESULTS / "cuda.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    facts = ", ".join(f"{name} {value}" for name, value in about.items())
    (RESULTS / "cuda.md").write_text(f"{facts}\n\n{as_markdown(rows)}\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
