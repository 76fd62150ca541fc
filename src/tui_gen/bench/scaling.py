"""How the cost grows: with the length of a text, and with the number of samples."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice, pairwise

import numpy as np

from tui_gen.bench.cases import NAMES, generating, opened
from tui_gen.bench.rows import Row, shown
from tui_gen.bench.timing import Run, in_turns, per_unit
from tui_gen.generate import generate
from tui_gen.library import open_model, shipped_folder
from tui_gen.sampling import SamplingParams
from tui_gen.step import Step
from tui_gen.stepper import Endless

_SATURATED = (
    "the profile: from 16 samples on the product with 10,000 words takes the whole processor, and the logits of more "
    "samples no longer fit into its cache"
)
NEAR, FAR, WINDOW = 100, 100_000, 1_000
BATCHES = (1, 4, 16, 64, 256)


def lengths() -> Iterator[Row]:
    """A token of a long text beside one of a short text; and the memory that the long one took."""
    playable = open_model(shipped_folder() / "names")
    model = Endless(playable.model)
    far = _text(model, playable.card.bos)
    list(islice(far, WINDOW))
    before = _peak_megabytes()
    for _ in islice(far, FAR - WINDOW):
        pass
    grown = _peak_megabytes() - before
    rounds = 5
    near = [_text(model, playable.card.bos) for _ in range(rounds + 1)]
    for text in near:
        list(islice(text, NEAR))
    queue = iter(near)
    times = in_turns({"near": lambda: _window(next(queue)), "far": lambda: _window(far)}, rounds=rounds)
    said, beside = f"token {FAR:,}: {shown(times['far'])}", f"token {NEAR}: {shown(times['near'])}"
    yield Row(
        "names, a late token beside an early one", said, beside, times["far"].over(times["near"]), 1.05, at_most=True
    )
    yield Row("names, memory for 100,000 tokens", f"{grown:.1f} MB more than for the first {WINDOW:,}", "")


def _text(model: Endless, bos: int) -> Iterator[Step]:
    return generate(model, np.full((1, 1), bos), SamplingParams(), length=FAR * 2, seed=0)


def _window(text: Iterator[Step]) -> float:
    return per_unit(lambda: [None for _ in islice(text, WINDOW)], WINDOW)


def _peak_megabytes() -> float:
    """The most memory that this process had so far; 0 where the system does not say."""
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def batches() -> Iterator[Row]:
    """Samples per second, for more and more samples at once."""
    model = opened("lstm", 1)
    runs: dict[str, Run] = {
        str(samples): generating(model, count=max(4, 100 // samples), samples=samples) for samples in BATCHES
    }
    times = in_turns(runs, rounds=3)
    rates = [int(name) / timing.median for name, timing in times.items()]
    grows = min(later / earlier for earlier, later in pairwise(rates))
    curve = ", ".join(f"{samples}: {rate:,.0f}" for samples, rate in zip(BATCHES, rates, strict=True))
    said = f"tokens a second at so many samples, 1 thread: {curve}"
    yield Row(f"{NAMES['lstm']}, least growth from one batch to the next", said, "", grows, 1.0, note=_SATURATED)
