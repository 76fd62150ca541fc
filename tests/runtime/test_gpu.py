"""What only a machine with an NVIDIA GPU can show; elsewhere these tests say why they are skipped.

`bench/cuda.sh` runs them and more, with figures.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tui_gen
from tests.support.devices import shipped
from tui_gen.bench.models import compare, greedy
from tui_gen.generation.generate import generate
from tui_gen.generation.protocol import Endless
from tui_gen.library import shipped_folder
from tui_gen.runtime.model import Model
from tui_gen.runtime.session import cuda_trouble
from tui_gen.sampling.params import SamplingParams

TROUBLE = cuda_trouble(0)
NAMES = sorted(path.parent.name for path in shipped_folder().glob("*/config.json"))

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(bool(TROUBLE), reason=TROUBLE)]


@pytest.fixture(scope="module", params=NAMES)
def pair(request: pytest.FixtureRequest) -> tuple[Model, Model]:
    """A model on the CPU and on the GPU."""
    graph, card = shipped(request.param)
    return Model(graph, card, provider="cpu"), Model(graph, card, provider="cuda")


def test_logits_and_tokens_agree(pair: tuple[Model, Model]) -> None:
    found = compare(*pair, tokens=1000, params=SamplingParams())
    assert pair[1].provider == "CUDA"
    assert found.largest <= 1e-3
    assert all(flip.is_near_tie for flip in found.flips), "\n".join(map(str, found.flips))


def test_greedy_tokens_agree(pair: tuple[Model, Model]) -> None:
    assert greedy(pair[0], tokens=500).tolist() == greedy(pair[1], tokens=500).tolist()


@pytest.mark.parametrize(
    "params", [SamplingParams(0.8, top_k=20), SamplingParams(top_p=0.9), SamplingParams(min_p=0.05)]
)
def test_filters_agree(pair: tuple[Model, Model], params: SamplingParams) -> None:
    found = compare(*pair, tokens=200, params=params)
    assert all(flip.is_near_tie for flip in found.flips), "\n".join(map(str, found.flips))


def test_batches_of_several_sizes_take_turns(pair: tuple[Model, Model]) -> None:
    prompt = np.full((1, 1), pair[1].card.bos)
    for samples in (1, 3, 1, 70, 3):
        steps = generate(Endless(pair[1]), prompt.repeat(samples, axis=0), SamplingParams(), length=20, seed=3)
        first = [step.tokens[0].item() for step in steps]
        alone = generate(Endless(pair[1]), prompt, SamplingParams(), length=20, seed=3)
        assert first == [step.tokens[0].item() for step in alone]


def test_the_process_lets_go_of_the_gpu_within_a_second() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(tui_gen.__file__).parents[1])}
    command = [sys.executable, "-m", "tui_gen", "generate", "names", "--provider", "cuda", "--seed", "1", "-n", "64"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as child:
        assert child.stderr
        said = child.stderr.read().decode()  # the report is the last line
        ended = time.monotonic()
        assert child.wait(timeout=10) == 0
    assert time.monotonic() - ended < 1
    assert "CUDA (" in said
