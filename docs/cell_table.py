"""Writes the table of the recipe cells in models.md: `python docs/cell_table.py`, on a machine with nothing else to do.

Held-out losses come from the cards, parameters from the files, and speeds are measured here, in turns.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from pathlib import Path

import numpy as np
import onnx

from tui_gen.bench.machine import facts
from tui_gen.bench.timing import Lap, Timing, in_turns, per_unit
from tui_gen.generation.generate import generate
from tui_gen.generation.protocol import Endless
from tui_gen.library import LoadedModel, open_model
from tui_gen.sampling.params import SamplingParams

ROOT = Path(__file__).parents[1]
MODELS = ("recipes-rnn", "recipes-gru", "recipes-lstm")
TOKENS = 3000
HEAD = "| model | cell | parameters | held-out loss, nats per token | tokens per second |\n|---|---|---|---|---|\n"
MACHINE = "Tokens per second of one sample on "


def parameters(loaded_model: LoadedModel) -> int:
    """Trained numbers: all that the file keeps in floating point."""
    graph = onnx.load(loaded_model.path / "model.onnx").graph
    return sum(int(np.prod(kept.dims)) for kept in graph.initializer if kept.data_type == onnx.TensorProto.FLOAT)


def drawn(loaded_model: LoadedModel) -> Lap:
    """The time for a token, of a text that does not end."""
    prompt = loaded_model.codec.prompt([""])
    steps = generate(Endless(loaded_model.model), prompt, SamplingParams(), length=TOKENS, seed=0)
    return per_unit(lambda: deque(steps, maxlen=0), TOKENS)


def row(loaded_model: LoadedModel, timing: Timing) -> str:
    """A line of the table."""
    card = loaded_model.card
    assert card.quality
    speed = f"{1 / timing.median:,.0f}"
    return (
        f"| `{card.name}` | {card.architecture} | {parameters(loaded_model):,} | {card.quality.value:.3f} | {speed} |\n"
    )


def main() -> None:
    """Replaces the lines under the table's head, and the machine below them."""
    page = ROOT / "docs" / "models.md"
    before, head, after = page.read_text(encoding="utf-8").partition(HEAD)
    if not head or MACHINE not in after:
        raise SystemExit(f"{page} has no table of cells to replace")
    models = {name: open_model(ROOT / "models" / name, provider="cpu", threads=1) for name in MODELS}
    timings = in_turns({name: partial(drawn, loaded_model) for name, loaded_model in models.items()})
    rows = "".join(row(loaded_model, timings[name]) for name, loaded_model in models.items())
    rest = after[after.index(MACHINE) :].partition("\n")[2]
    machine = f"{MACHINE}{facts()['processor']}, on one thread.\n"
    page.write_text(f"{before}{HEAD}{rows}\n{machine}{rest}", encoding="utf-8")


if __name__ == "__main__":
    main()
