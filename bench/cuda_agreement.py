"""The same on the CPU and on CUDA: logits, greedy tokens, sampled tokens, of every model that ships."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tui_gen.bench.models import compare, greedy
from tui_gen.bench.timing import Result
from tui_gen.card import ModelCard
from tui_gen.runtime.model import Model
from tui_gen.sampling.params import SamplingParams

ROOT = Path(__file__).parents[1]
LOGITS, GREEDY, SAMPLED = 1e-3, 500, 1000

_EXIT = """
import time, numpy as np
from bench.cuda_agreement import shipped
from tui_gen.generation.generate import generate
from tui_gen.sampling.params import SamplingParams
model = shipped("recipes", "cuda")
list(generate(model, np.full((4, 1), model.card.bos), SamplingParams(), length=50, seed=0))
print(time.time(), flush=True)
"""
_FULL = """
import torch, numpy as np
from itertools import islice
from tui_gen.bench.cases import load_network
from tui_gen.generation.generate import generate
from tui_gen.sampling.params import SamplingParams
model = load_network("pixelcnn", 1, "cuda")
samples = 4096
free, _ = torch.cuda.mem_get_info()
taken = torch.empty(int(free - 0.35 * 2**30), dtype=torch.uint8, device="cuda")
steps = generate(model, np.full((samples, 1), model.card.bos), SamplingParams(), length=40, seed=0)
print(sum(1 for _ in islice(steps, 40)), *model.take_warnings(), sep="; ")
"""


def names() -> list[str]:
    """Of the models that ship."""
    return sorted(path.parent.name for path in (ROOT / "models").glob("*/config.json"))


def shipped(name: str, provider: str) -> Model:
    """One of them, on the CPU or on CUDA."""
    folder = ROOT / "models" / name
    card = ModelCard.from_json((folder / "config.json").read_text(encoding="utf-8"))
    return Model((folder / "model.onnx").read_bytes(), card, provider=provider)


def agreement() -> Iterator[Result]:
    """For each model: the largest difference of logits, equal greedy tokens, sampled tokens with their near-ties."""
    for name in names():
        cpu, cuda = shipped(name, "cpu"), shipped(name, "cuda")
        found = compare(cpu, cuda, tokens=SAMPLED, params=SamplingParams())
        same = (greedy(cpu, tokens=GREEDY) == greedy(cuda, tokens=GREEDY)).sum()
        case, runs = f"{name}, CPU beside CUDA", how(cuda)
        said = f"{SAMPLED} tokens"
        yield Result(f"{case}: largest difference of a logit", said, runs, found.largest, LOGITS, at_most=True)
        yield Result(f"{case}: greedy tokens that are the same", f"of {GREEDY}", runs, float(same), GREEDY)
        flips = "; ".join(map(str, found.flips)) or "none differs"
        far = sum(not flip.is_near_tie for flip in found.flips)
        yield Result(f"{case}: sampled tokens that differ, near-ties aside", flips, runs, float(far), 0, at_most=True)


def how(model: Model) -> str:
    """How a model ran on the GPU. Raises RuntimeError if it did not."""
    device = model._device
    if model.provider != "CUDA" or device is None or model.has_warnings:
        raise RuntimeError(f"it did not run on CUDA: {model.runs_on}; {'; '.join(model.take_warnings())}")
    return f"{model.provider}, {model.provider_note}, {'recorded' if device.records else 'not recorded'}"


def troubles() -> Iterator[Result]:
    """A device that is nearly full, and how long a process takes to let go of it."""
    said = _child(_FULL)
    made = float(said.partition(";")[0])
    yield Result("4,096 pictures on a GPU with 0.35 GiB left: pixels drawn", said[-300:], "", made, 40)
    left = time.time() - float(_child(_EXIT))
    yield Result("seconds from the last token to the end of the process", "recipes", "", left, 1, at_most=True)


def _child(program: str) -> str:
    """What a program prints. Raises RuntimeError if it fails, also while it ends."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise RuntimeError(f"status {done.returncode}: {done.stdout[-100:]} {done.stderr[-300:]}")
    return done.stdout.strip()
