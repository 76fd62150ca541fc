"""Writes the README's table of the recipe cells: `python docs/cell_table.py`, on a machine with nothing else to do.

Held-out losses come from the cards, parameters from the files, and speeds are measured here, in turns.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import onnx

from tui_gen.bench.machine import facts
from tui_gen.bench.timing import Timing, in_turns, per_unit
from tui_gen.generate import generate
from tui_gen.library import Playable, open_model
from tui_gen.sampling import SamplingParams

ROOT = Path(__file__).parents[1]
MODELS = ("recipes-rnn", "recipes-gru", "recipes-lstm")
TOKENS = 3000
HEAD = "| model | cell | parameters | held-out loss, nats per token | tokens per second |\n|---|---|---|---|---|\n"
MACHINE = "Tokens per second of one sample on "


def parameters(playable: Playable) -> int:
    """Trained numbers: all that the file keeps in floating point."""
    graph = onnx.load(playable.path / "model.onnx").graph
    return sum(int(np.prod(kept.dims)) for kept in graph.initializer if kept.data_type == onnx.TensorProto.FLOAT)


def drawn(playable: Playable) -> float:
    """Seconds for a token; what ends is begun anew."""
    prompt = playable.codec.prompt([playable.card.prompt_example])

    def run() -> None:
        made, seed = 0, 0
        while made < TOKENS:
            steps = generate(playable.model, prompt, SamplingParams(1.0), length=TOKENS - made, seed=seed)
            made, seed = made + sum(not step.given[0] for step in steps), seed + 1

    return per_unit(run, TOKENS)


def row(playable: Playable, timing: Timing) -> str:
    """A line of the table."""
    card = playable.card
    assert card.quality
    speed = f"{1 / timing.median:,.0f}"
    return f"| `{card.name}` | {card.architecture} | {parameters(playable):,} | {card.quality.value:.3f} | {speed} |\n"


def main() -> None:
    """Replaces the lines under the table's head, and the machine below them."""
    models = {name: open_model(ROOT / "models" / name, provider="cpu") for name in MODELS}
    timings = in_turns({name: partial(drawn, playable) for name, playable in models.items()})
    rows = "".join(row(playable, timings[name]) for name, playable in models.items())
    readme = ROOT / "README.md"
    before, _, after = readme.read_text(encoding="utf-8").partition(HEAD)
    rest = after[after.index(MACHINE) :].partition("\n")[2]
    machine = f"{MACHINE}{facts()['processor']}.\n"
    readme.write_text(f"{before}{HEAD}{rows}\n{machine}{rest}", encoding="utf-8")


if __name__ == "__main__":
    main()
